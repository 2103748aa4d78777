"""Calibration: agreement with outcomes, recalibration and the regressions behind them."""
