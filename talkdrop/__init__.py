"""A person's verbs over the same table, queues and workflow that the functions use, on AWS and in
the embedded run."""
