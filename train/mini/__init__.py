"""What mini starts from beside other people's weights: made once, committed with the package."""
