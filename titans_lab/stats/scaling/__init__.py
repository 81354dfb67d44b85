"""Scaling laws: power laws with an offset in one or two variables, fitted, resampled and checked.

`points` holds what was measured, `law` the curve, `fit` the fitting and its bootstrap, `checks` what a fit is held
against: the largest budget held out, and IsoFLOP parabolas. `frontier` says how to spend a budget.
"""
