"""Every handler from a cold start and warm, as the bundle ships it, beside what a tutorial writes.

scenes.py     a task's row, an event and the environment for each handler
endpoints.py  AWS, a provider and a video's host in one https server: canned answers, real TLS
child.py      what is measured: import, first invocation, the following ones
naive/        submit and callback as a tutorial writes them
"""
