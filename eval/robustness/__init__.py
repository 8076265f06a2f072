"""What must not move a score: texts that want one, other files of the same picture and sound, batches, orders.

Every probe is a collector: `add` takes what is measured of a clip, `rows` gives plain dicts for tables and suites.
"""
