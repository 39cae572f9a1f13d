"""One file a figure: `draw(dataset)` gives a Picture; computation is elsewhere. And the pages.

story      which pictures and claims are told in which chapter
verdicts   the map of all claims
report     the page of all claims, self-contained
explorer   the page with sliders, its JavaScript printed by `javascript` from the rules
results    datasets through the store, and the findings on them
reproduce  all of it, from `undertow reproduce`
style      colours, labels and how a picture is saved; shares, what pictures of dead shares have in common
progress   what runs, what is done, what is left
"""
