"""One file a figure: `draw(dataset)` gives a Picture; computation is elsewhere. And the pages.

story      the report's chapters: which pictures and claims stand in which
verdicts   the map of all claims
paper      the paper's claims and which findings bear on each; paper_table, the cells that README, report and terminal show
report     the page of all claims, self-contained; report_runs, its tables of CNN runs
explorer   the page with sliders, its JavaScript printed by `javascript` from the rules
style      colours, labels and how a picture is saved; shares, what pictures of dead shares have in common
"""

import logging

# Where it has no place to write, it draws all the same: lines about that are nobody's answer.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
