"""``whim benchmark detection``: Tables 1 and 2 of the paper, measured where it can be and quoted where not."""
