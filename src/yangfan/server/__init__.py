"""The service: HTTP plumbing, slices by capability, and `app.py`, the composition root that knows them all."""
