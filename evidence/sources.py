"""Who says so: the sources that several claims share, each written once."""

MEHTA = "Mehta, Kim, Theobalt 2019, arXiv 1905.04967"
LOSHCHILOV = "Loshchilov, Hutter 2019, arXiv 1711.05101"
KOSSON = "Kosson et al. 2023, arXiv 2305.17212"
DERIVED = "derived here"
