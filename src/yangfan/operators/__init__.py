"""Cleaning texts: one file for each operator, named as on Qianfan's wire, and the pipeline that runs them over files."""
