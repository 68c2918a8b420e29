"""Published data sets as shards: one small file per layout, one writer for all."""
