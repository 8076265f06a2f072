"""What pipelines need around ratings: schemas, gates calibrated on own labels, shards, comparisons."""
