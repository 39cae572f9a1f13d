from dynamics.answers.convert import convert as convert
from dynamics.answers.explain import explain as explain
from dynamics.answers.live import read as read
from dynamics.answers.setting import parse as parse
from dynamics.couplings import COUPLINGS as COUPLINGS
from dynamics.errors import InputError as InputError
from dynamics.optimizer import Optimizer as Optimizer
from dynamics.optimizer import parameter_groups as parameter_groups
from dynamics.probe import probe as probe
from dynamics.rules import RULES as RULES
from dynamics.rules import load_rules as load_rules
from dynamics.simulate.lanes import simulate as simulate
from dynamics.theory.pull import pull_share as pull_share
from fullscale.checkpoint import load_network as load_network
from fullscale.gradient_scale import gradient_scale as gradient_scale
from fullscale.measure import measure as measure
from fullscale.monitor import Monitor as Monitor
from fullscale.prune import certify as certify
from fullscale.prune import remove_dead as remove_dead
from fullscale.revive import revive as revive

__version__: str
