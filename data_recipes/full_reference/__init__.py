"""Full-reference measures of a fault: the clip before and after it is compared, where a measure answers for its kind.

`synthesis/doses.yaml` says which measure is believed for which kind and why the others are left to their dose.
"""
