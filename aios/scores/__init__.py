"""Health in [0, 1] of each subject and of the whole, folded from events. Pure; `docs/score.md` says what it means.

`scores.Scores` is what others hold; `formula` is the arithmetic, `symptoms` says what counts as falling ill, `book` is what is
remembered of one subject.
"""
