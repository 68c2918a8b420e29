"""The literal reading of eqs. 2-4: L1 reprojection, biomechanical losses and mesh PCA, lowered by Adam.

The only part of the fit that needs torch (extra ``train``). ``whim.fitting.fit.fit_hands`` imports it when the
configuration asks for it.
"""
