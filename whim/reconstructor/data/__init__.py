"""Crops of hands with what is known of them, from pixel shards."""
