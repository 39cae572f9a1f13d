"""The explorer: it runs the rules themselves, needs nothing but itself, and serves keyboard, phone and screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser, needs_browser

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.simulate import random
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate
from dynamics.theory import closed
from figures import explorer, javascript

VOID = {"meta", "link", "input", "br"}
SLIDERS = ("lr", "strength", "beta2", "selectivity", "batch")
CONTROLS = ["optimizer", "coupling", *SLIDERS, "draw", "log"]
# Far from each other: memory short and long, gradients rare and at every step, pulls weak and strong.
SETTINGS = (
    {"lr": 1e-2, "strength": 1e-2, "beta2": 0.9, "selectivity": 0.9, "batch": 4, "draw": 7},
    {"lr": 1e-3, "strength": 0.5, "beta2": 0.999, "selectivity": 0.99, "batch": 1, "draw": 2**32 - 1},
    {"lr": 0.1, "strength": 1e-3, "beta2": 0.99, "selectivity": 0.0, "batch": 1, "draw": 0},
)


@pytest.fixture(scope="module")
def page() -> str:
    return explorer.page()


class Page(HTMLParser):
    """Tags with attributes, in order; every one that is opened must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_is_well_formed_and_labels_every_control(page: str) -> None:
    tags = Page(page).tags
    names = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(names) == len(set(names))
    labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
    fields = [a["id"] for tag, a in tags if tag in ("input", "select")]
    assert set(fields) - {"log"} <= labelled  # the check box stands within its label
    assert '<label class="check"><input type="checkbox" id="log"' in page


def test_refers_to_nothing_outside(page: str) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)
    for tag, attributes in Page(page).tags:
        assert tag not in ("iframe", "img", "object")
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
    assert "default-src 'none'" in page  # and the browser sees to it
    assert len(page.encode()) < 300_000


def test_offers_every_rule_and_every_coupling(page: str) -> None:
    values = [attributes["value"] for tag, attributes in Page(page).tags if tag == "option"]
    assert values == [*RULES, *COUPLINGS]
    for rule, coupling in product(RULES.values(), COUPLINGS.values()):
        assert javascript.update(rule, coupling) in page


def test_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "page", lambda: "β")
    explorer.write(tmp_path / "explorer.html")
    assert (tmp_path / "explorer.html").read_bytes() == "β".encode()
    with pytest.raises(InputError, match="cannot be written"):
        explorer.write(tmp_path / "absent" / "explorer.html")


def test_printing_keeps_every_operation_and_every_digit() -> None:
    a, b, c = map(javascript.Name, "abc")
    assert javascript.printed("a, b", a * (1 / b)) == "(a, b) => a * (1 / b)"
    assert javascript.printed("a, b", (b + a) - a) == "(a, b) => (b + a) - a"
    assert javascript.printed("a, b, c", a + (b + c)) == "(a, b, c) => a + (b + c)"
    assert javascript.printed("a", 0.1 * a) == "(a) => 0.1 * a"
    assert javascript.printed("a", a * (1 / 3)) == "(a) => a * 0.3333333333333333"
    assert javascript.printed("a, b", (a * b, 0.0)) == "(a, b) => [a * b, 0.0]"
    twice = javascript.printed("a, b", (a / b, a / b - 1))
    assert twice == "(a, b) => {\nconst x0 = a / b;\nreturn [x0, x0 - 1];\n}"


def _steered(w, g, m, lr, beta1):
    m = beta1 * m + g
    return w - lr * m, m


def test_prints_the_rule_that_it_is_given() -> None:
    rule = Rule("steered", _steered, ("m",), {}, {"beta1": 0.9}, 1.0)
    assert javascript.update(rule, COUPLINGS["none"]) == (
        "([w, m], g, lr, multiplier, strength, [beta1]) => {\n"
        "const x0 = (beta1 * m) + g;\n"
        "return [w - (lr * x0), x0];\n}"
    )
    assert "g + (strength * w)" in javascript.update(rule, COUPLINGS["l2"])
    assert "w - ((lr * strength) * w)" in javascript.update(rule, COUPLINGS["decoupled_lr"])
    assert javascript.fresh(rule) == "(w, [beta1]) => [w, 0.0]"


def test_formulas_are_those_of_the_rules(page: str) -> None:
    assert "<b><i>w</i></b> ← <i>w</i> − <i>η</i>\u2009(<i>g</i> + <i>λ</i>\u2009<i>w</i>)" in page  # SGD with L2
    assert explorer.memory(RULES["rmsprop"]) == "alpha"
    assert explorer.memory(RULES["sgd"]) is None


@pytest.fixture(scope="module")
def opened(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    folder = tmp_path_factory.mktemp("explorer")
    (folder / "explorer.html").write_text(page, encoding="utf-8")
    with browser(folder / "profile") as driver:
        yield driver, (folder / "explorer.html").as_uri()


@pytest.fixture
def at(opened: tuple[Any, str]) -> Iterator[Any]:
    """Opens the page with a setting in its address and waits for its words; the console must stay empty."""
    driver, address = opened

    def open_at(setting: str = "") -> Any:
        driver.get("about:blank")
        driver.get(address + setting)
        settled(driver)
        return driver

    yield open_at
    assert driver.get_log("browser") == []


def settled(driver: Any) -> None:
    """Wait until the page has drawn and said what was asked of it last."""
    driver.execute_async_script(
        "const done = arguments[0], check = () => undertow.settled() ? done() : setTimeout(check, 10);"
        "setTimeout(check, 20)"  # what the address changed comes as an event
    )


def text(driver: Any, name: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).textContent", name))


def curve(driver: Any) -> str:
    return str(driver.execute_script("return document.querySelector('path.curve:last-of-type').getAttribute('d')"))


def in_numpy(rule: Rule, settings: list[dict[str, Any]], steps: int) -> np.ndarray:
    """(steps + 1, settings), by the simulator's NumPy reference."""
    memory = explorer.memory(rule)
    lanes = {name: np.array([s[name] for s in settings]) for name in ("lr", "strength")}
    lanes |= {name: explorer.WORLD[name] for name in ("pull", "target", "sigma")}
    lanes["arrival"] = np.array([1 - closed.silent_batch(s["selectivity"], s["batch"]) for s in settings])
    if memory is not None:
        lanes[memory] = np.array([s["beta2"] for s in settings])
    return simulate(
        rule,
        [s["coupling"] for s in settings],
        selective,
        record=range(steps + 1),
        lanes=lanes,
        start=explorer.WORLD["start"],
        seed=np.array([s["draw"] for s in settings]),
        stream=np.zeros(len(settings), dtype=int),
        compiled=False,
    ).w


def in_page(driver: Any, settings: list[dict[str, Any]], steps: int) -> np.ndarray:
    script = "return arguments[0].map((s) => Array.from(undertow.run(s), String).join(' '))"  # NaN is no JSON
    found = driver.execute_script(script, [{**s, "steps": steps} for s in settings])
    return np.array([line.split() for line in found], dtype=np.float64).T


@needs_browser
def test_curves_are_those_of_numpy(at: Any) -> None:
    driver, steps = at(), 64
    for name, rule in RULES.items():
        settings = [{**s, "optimizer": name, "coupling": c} for s, c in product(SETTINGS, COUPLINGS)]
        wanted, found = in_numpy(rule, settings, steps), in_page(driver, settings, steps)
        if name == "nadam":  # JavaScript does not fix the last bit of a power
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=name)
        ends = np.unique(wanted[-1][np.isfinite(wanted[-1])])
        assert len(ends) > len(COUPLINGS)  # the settings differ, or nothing would have been compared


@needs_browser
def test_a_long_curve_is_numpys(at: Any) -> None:
    couplings, steps = ("none", "l2", "decoupled_lr"), 2_000
    settings = [{**s, "optimizer": "adam", "coupling": c} for s, c in product(SETTINGS, couplings)]
    wanted = in_numpy(RULES["adam"], settings, steps)
    np.testing.assert_array_equal(in_page(at(), settings, steps), wanted)


@needs_browser
def test_random_numbers_are_those_of_the_simulator(at: Any) -> None:
    driver, steps = at(), 50
    for key, stream in ((0, 0), (1, 5), (2**32 - 1, 2**31), (123456789, 2**32 - 1)):
        script = "const n = undertow.uniforms(arguments[0], arguments[1]); return Array.from({length: 50}, () => n.next().value)"
        wanted = [[float(x[0]) for x in random.uniforms(t, key, stream)] for t in range(steps)]
        assert driver.execute_script(script, key, stream) == wanted


@needs_browser
def test_what_is_said_follows_from_the_curves(at: Any) -> None:
    driver = at("#optimizer=adam&coupling=l2&lr=0.001&strength=0.01&selectivity=0.999&batch=2&draw=4")
    setting = {**explorer.OPENS_WITH, "lr": 1e-3, "beta2": 0.999, "batch": 2, "draw": 4}
    size = np.abs(in_page(driver, [setting, {**setting, "coupling": "decoupled_lr"}], 5_000))
    passed = int(np.argmax(size[:, 0] <= explorer.WORLD["floor"]))
    rows = driver.execute_script("return [...document.querySelectorAll('#key tbody tr')].map((r) => r.innerText)")
    assert [row.split("\t")[0].strip() for row in rows] == ["L2 in the gradient", "weight decay x lr", "no regularizer"]
    assert rows[0].split("\t")[1] == f"{passed:,}"
    assert rows[1].split("\t")[1:] == ["not in 5,000", f"{size[-1, 1]:.3g}"]
    assert f"down to 0.001 after {passed:,} steps" in text(driver, "summary")
    assert text(driver, "arrival").startswith(f"{1 - closed.silent_batch(0.999, 2):.3g} for a batch of 2 images")
    assert f"= {closed.critical_selectivity(0.999):.5g}" in text(driver, "critical")
    assert "below it" in text(driver, "critical")
    assert "beyond it" in text(at("#selectivity=0.9999"), "critical")
    assert "= 0.999;" in text(at("#optimizer=adamax"), "critical")
    assert "No closed form" in text(at("#optimizer=amsgrad"), "critical")


@needs_browser
@pytest.mark.parametrize("slider", SLIDERS)
def test_sliders_move_by_keyboard_and_redraw(at: Any, slider: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver = at("#coupling=l2&selectivity=0.9&batch=4")
    before = curve(driver), text(driver, f"{slider}-shown"), text(driver, "summary"), driver.current_url
    driver.find_element(By.ID, slider).send_keys(*[Keys.ARROW_RIGHT] * 3)
    settled(driver)
    after = curve(driver), text(driver, f"{slider}-shown"), text(driver, "summary"), driver.current_url
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert driver.find_element(By.ID, slider).get_attribute("aria-valuetext") == after[1]


@needs_browser
def test_the_address_brings_a_setting_back(at: Any) -> None:
    def shown(driver: Any) -> list[str]:
        return [curve(driver), *(text(driver, name) for name in ("summary", *(f"{s}-shown" for s in SLIDERS)))]

    driver = at(
        "#optimizer=rmsprop&coupling=l1&lr=0.0025&strength=0.02&beta2=0.95&selectivity=0.98&batch=8&draw=3&log=0"
    )
    first, address = shown(driver), driver.current_url
    assert first[-5:] == ["0.0025", "0.02", "0.95", "0.98: 1 image in 50", "8"]
    assert shown(at(address[address.index("#") :])) == first
    assert shown(at("#optimizer=rmsprop")) != first


@needs_browser
def test_everything_else_works_by_keyboard(at: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver = at("#selectivity=0.9")
    reached = []
    for _ in CONTROLS:
        driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(driver.switch_to.active_element.get_attribute("id"))
    assert reached == CONTROLS
    outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for control, keys in (("draw", Keys.ENTER), ("log", Keys.SPACE), ("coupling", Keys.ARROW_DOWN)):
        before = curve(driver)
        driver.find_element(By.ID, control).send_keys(keys)
        settled(driver)
        assert curve(driver) != before, control
    driver.find_element(By.ID, "optimizer").send_keys(Keys.HOME)
    settled(driver)
    assert text(driver, "rule-title").startswith("One step of SGD with L1")
    assert text(driver, "lr-shown") == str(RULES["sgd"].lr)
    assert text(driver, "beta2-shown") == "SGD has none"
    assert not driver.find_element(By.ID, "beta2").is_enabled()


@needs_browser
def test_nonsense_in_the_address_is_passed_over(at: Any) -> None:
    driver = at("#optimizer=toString&coupling=<b>&lr=-1&strength=none&selectivity=1&batch=1e9&draw=-5&log=x")
    assert text(driver, "rule-title") == "One step of Adam with L2 in the gradient"
    assert [text(driver, f"{name}-shown") for name in ("strength", "batch")] == ["0.01", "1,024"]


@needs_browser
def test_fits_a_phone(at: Any) -> None:
    screen = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    driver = at()
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        for name, coupling in product(RULES, ("cautious",)):
            driver.execute_script("location.hash = arguments[0]", f"#optimizer={name}&coupling={coupling}&log=1")
            driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
            assert driver.execute_script("return document.documentElement.scrollWidth") == 360, name
        driver.execute_script("location.hash = '#optimizer=adam'")
        settled(driver)
        script = "const e = document.getElementById(arguments[0]); return (e.closest('label') ?? e).getBoundingClientRect().height"
        assert min(driver.execute_script(script, name) for name in CONTROLS) >= 24  # for fingers (WCAG 2.2, 2.5.8)
        # Going back through the controls, none hides behind the curves, which stay in sight.
        driver.execute_script("scrollTo(0, document.body.scrollHeight)")
        script = """const bottom = () => document.getElementById('plot').getBoundingClientRect().bottom;
            const e = document.getElementById(arguments[0]); e.focus();
            return [e.getBoundingClientRect().top, bottom()]"""
        for name in reversed(CONTROLS):
            top, curves_end = driver.execute_script(script, name)
            assert 0 < curves_end <= top + 1, name
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@needs_browser
def test_redraws_within_a_tenth_of_a_second(at: Any) -> None:
    driver = at("#optimizer=radam&coupling=cautious&selectivity=0.5")
    script = "const t = performance.now(); undertow.draw(); return performance.now() - t"
    assert min(driver.execute_script(script) for _ in range(5)) < 100


@needs_browser
def test_a_weight_that_runs_away_is_drawn_as_far_as_it_goes(at: Any) -> None:
    driver = at("#optimizer=rmsprop_centered&coupling=l2&lr=1&strength=1&beta2=0&selectivity=0.99999")
    assert "L2 in the gradient: no number after 5,000 steps." in text(driver, "summary")
    for _ in range(2):  # logarithmic, then linear
        drawn = driver.execute_script("return document.getElementById('plot').innerHTML")
        assert drawn.count('class="curve"') == 3
        assert not re.search("NaN|Infinity", drawn)
        driver.execute_script("document.getElementById('log').click()")
        settled(driver)
