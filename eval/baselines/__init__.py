"""What a model has to beat: overall quality fused from two scores, and regressions on measured signal facts."""
