"""Benchmarks of fastconv, run by asv; see README.md in this folder."""
