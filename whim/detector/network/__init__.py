"""The detector's network (paper section 4.1)."""
