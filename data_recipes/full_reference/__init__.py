"""Full-reference measures of a fault: the clip before and after it is compared, where a measure answers for its kind.

`table.BELIEVED` says which measure is used for which kind and why the others are left to their dose.
"""
