"""The worker program: `yangfan worker run JOB --fence N` works on one job and talks to its server over HTTP, never to a database."""
