"""Is it noticed that sound and picture are out of step, from which offset on, and that they do not belong together?

Sign of offsets: milliseconds that the sound is late; early sound is negative.
"""
