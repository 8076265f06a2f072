"""A tree of tokens gives every branch the result it has alone."""

from mllm_avqa.model.rows import EncodedBranch
from mllm_avqa.model.tree import TokenTree, together


def branch(aspect, *ids):
    return EncodedBranch(aspect, list(ids), 0)


def test_what_branches_of_one_aspect_share_stands_once():
    tree = TokenTree.of([branch("video", 5, 6, 7), branch("video", 5, 6, 8), branch("audio", 5, 6, 7)])
    assert tree.ids == [5, 6, 7, 8, 5, 6, 7]
    assert tree.parents == [-1, 0, 1, 1, -1, 4, 5]
    assert tree.depths == [0, 1, 2, 2, 0, 1, 2]
    assert tree.paths == [[0, 1, 2], [0, 1, 3], [4, 5, 6]]


def test_names_stay_together_and_rows_stay_short():
    parts = [("video", 100), ("audio", 50), ("video", 300), ("sync", 30), ("text", 500), ("audio", 10)]
    assert together(parts, 400) == [[0, 2], [1, 5, 3], [4]]
    assert together([], 400) == []
    assert together([(str(k), 150) for k in range(5)], 400) == [[0, 1], [2, 3], [4]]
