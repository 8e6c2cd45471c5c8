"""Sends with one of the libraries what stdin describes: `python e2e/senders/run.py pywebpush`. Job and answer are job.mjs's."""

import importlib
import json
import sys

sender = importlib.import_module(f"with_{sys.argv[1]}")
print(json.dumps(sender.send(json.load(sys.stdin))))
