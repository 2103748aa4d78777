"""Thin Prefect tasks: a signature, a decorator and a call into `medcompare`."""
