"""Pictures with labelled hands: from shards and image folders to augmented batches."""
