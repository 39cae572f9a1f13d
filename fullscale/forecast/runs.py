"""Which runs the forecast was made on and tested on. Nothing heavy is imported here, for claims are looked up by these names."""

DESIGN = ("forecast-design", "forecast-design-cifar")
TEST = ("forecast-test", "forecast-test-cifar", "forecast-test-vgg")
KEPT = "fullscale/studies/forecast.sqlite"
# The runs in which the strength is turned (`fullscale.forecast.dialled`): what is asked for, of all filters, at which share of the
# training.
DIAL, SHARES, MOMENT = "dial", (0.3, 0.65), 0.1
