"""Tables 3 to 5 of the paper: reconstructed hands against the truth of the challenges."""
