"""Benchmarks: one runner per question, each returning a report."""
