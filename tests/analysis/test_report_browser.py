"""The page in a real browser: the slider moves what it should, hover computes, keys reach all, nothing foreign runs."""

import shutil
import time
from unittest import mock

import numpy as np
import pytest
from made_runs import MadeRun
from report_pages import FOLDER, HOSTILE, hostile_copy, written
from runner import tenth_of_shapes10

from analysis import report
from analysis.report_parts import page as page_module
from analysis.support.network import restored_network
from analysis.support.run import Run
from core.data.data_set import MEAN, STD
from core.run import checkpoints

BROWSERS, DRIVER = ("chromium", "chromium-browser", "google-chrome"), "chromedriver"


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; where there is none, these tests are skipped."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the package selenium is not installed")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which(DRIVER)
    if not program or not driver:
        pytest.skip(f"no {' or '.join(BROWSERS)} with {DRIVER} on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def folder(straight, tmp_path_factory):
    """A run with checkpoints and hostile texts."""
    return hostile_copy(straight, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(browser, folder):
    """The browser with the page of that run, open from file://."""
    path = folder / "report.html"
    path.write_text(written(folder), encoding="utf-8")
    size(browser, 1200)
    browser.get(path.as_uri())
    return browser


def size(browser, width: int) -> None:
    """The width of the window in pixels of the page."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def images(browser) -> dict:
    """What is drawn: {canvas: its pixels as text}; deeper layers are drawn once their images are decoded."""
    return browser.execute_async_script("""
        const done = arguments[0], sheets = [...document.querySelectorAll("[data-layer]")];
        const all = () => Object.fromEntries([".image", ".filters canvas", ".filters .pair canvas:nth-child(2)",
            "[data-layer]", ".map", ".patch"].map((name) => [name, document.querySelector(name).toDataURL()]));
        setTimeout(() => done(all()), 300);""")


def slide(browser, value: int) -> None:
    browser.execute_script("""
        const slider = document.querySelector(".checkpoint");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input"));""", value)  # fmt: skip


def shown(browser, selector: str) -> str:
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def test_the_console_is_silent_and_nothing_foreign_ran(page):
    assert page.get_log("browser") == []
    assert page.execute_script("return window.broken") is None
    assert page.execute_script("return document.querySelector('h1').textContent") == FOLDER
    assert HOSTILE in shown(page, ".notes") and FOLDER in page.title


def test_the_slider_moves_filters_maps_and_probabilities_but_not_the_image(page):
    last = int(page.execute_script("return document.querySelector('.checkpoint').max"))
    slide(page, last)
    trained, probabilities = images(page), shown(page, ".probabilities")
    assert shown(page, ".at").startswith("step 60, test accuracy")
    slide(page, 0)
    untrained = images(page)
    assert shown(page, ".at") == "untrained network" and shown(page, ".probabilities") != probabilities
    same = {name for name in trained if trained[name] == untrained[name]}
    assert same == {".image", ".patch"}
    slide(page, last)
    assert images(page) == trained


def test_the_arrow_keys_move_the_slider_and_another_image_can_be_picked(page):
    from selenium.webdriver.common.keys import Keys

    slider = page.find_element("css selector", ".checkpoint")
    slide(page, 3)
    slider.send_keys(Keys.ARROW_LEFT)
    assert slider.get_attribute("value") == "2" and slider.get_attribute("aria-valuetext") == shown(page, ".at")
    before, probabilities = images(page), shown(page, ".probabilities")
    first = page.find_element("css selector", ".images input")
    first.send_keys(Keys.ARROW_RIGHT)
    assert images(page)[".image"] != before[".image"] and shown(page, ".probabilities") != probabilities
    page.find_elements("css selector", ".images input")[1].send_keys(Keys.ARROW_LEFT)


def test_hover_shows_what_numpy_computes(page, folder):
    """Patch, kernel, products and sum of one output pixel, at two checkpoints and at the edge of the image."""
    from selenium.webdriver import ActionChains

    data = page.execute_script("return JSON.parse(document.getElementById('data').textContent)")
    pixels = np.frombuffer(bytes(page.execute_script(
        "return [...Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0))]", data["images"][0]["pixels"]
    )), np.uint8).reshape(32, 32, 3)  # fmt: skip
    x = np.pad((pixels / 255 - MEAN.astype(float)) / STD.astype(float), [(1, 1), (1, 1), (0, 0)])
    canvas = page.find_element("css selector", ".map")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", canvas)
    for checkpoint, row, column in ((8 - 1, 20, 5), (4, 0, 31)):
        slide(page, checkpoint)
        layer = restored_network(folder, checkpoints.newest(folder, data["steps"][checkpoint])).layers[0]
        kernel = layer.kernel.numpy()[..., 0].astype(float)
        patch = x[row : row + 3, column : column + 3]
        width, height = canvas.size["width"], canvas.size["height"]
        right, down = (column + 0.5) / 32 * width - width / 2, (row + 0.5) / 32 * height - height / 2
        ActionChains(page).move_to_element_with_offset(canvas, round(right), round(down)).perform()
        cells = page.execute_script("return [...document.querySelectorAll('.sums td')].map((c) => +c.dataset.value)")
        cells = np.array(cells).reshape(3, 3, 3, 3)  # colour; patch, kernel, products; rows; columns
        assert np.allclose(cells[:, 0], patch.transpose(2, 0, 1)) and np.allclose(
            cells[:, 1], kernel.transpose(2, 0, 1)
        )
        assert np.allclose(cells[:, 2], (patch * kernel).transpose(2, 0, 1))
        found = page.execute_script("return {...document.querySelector('.sum').dataset}")
        assert (int(found["row"]), int(found["column"])) == (row, column)
        y = (patch * kernel).sum() + float(layer.bias.numpy()[0])
        assert np.isclose(float(found["value"]), y, atol=1e-6)
        assert f"= {y:.3f}".replace("-", "−") in shown(page, ".sum")


def test_arrow_keys_move_the_output_pixel(page):
    from selenium.webdriver.common.keys import Keys

    canvas = page.find_element("css selector", ".map")
    position = "return ['row', 'column'].map((name) => +document.querySelector('.sum').dataset[name])"
    row, column = page.execute_script(position)
    canvas.send_keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.execute_script(position) == [min(row + 1, 31), column - 2]


def test_tab_reaches_every_control(page):
    """A group of radio buttons is one stop: the arrow keys move inside it. So is a long command, which scrolls."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    count = page.execute_script("""
        const number = (e) => [...document.querySelectorAll("*")].indexOf(e);
        const name = (e) => e.type === "radio" ? "radio " + e.name : e.tagName + number(e);
        const seen = (e) => e.checkVisibility() && !e.disabled;
        const controls = "a[href], button, input, select, summary, [tabindex='0']";
        window.expected = new Set([...document.querySelectorAll(controls)].filter(seen).map(name));
        window.reached = new Set();
        document.addEventListener("focusin", (event) => window.reached.add(name(event.target)));
        document.activeElement.blur();
        document.querySelector(".skip").focus();
        return window.expected.size;""")
    scrolling = page.execute_script("""
        const wide = [...document.querySelectorAll(".command code, .wide")];
        return wide.filter((e) => e.scrollWidth > e.clientWidth).length;
        """)
    for _ in range(count + scrolling):
        ActionChains(page).send_keys(Keys.TAB).perform()
    assert count > 20
    assert page.execute_script("return [...window.expected].filter((name) => !window.reached.has(name))") == []


def test_the_x_axis_can_be_chosen(page):
    for axis in ("seconds", "epoch", "step"):
        page.execute_script(f"document.querySelector('input.x[value={axis}]').click()")
        visible = "return [...document.querySelectorAll('#curves figure > div')].filter((d) => d.checkVisibility())"
        assert set(page.execute_script(f"{visible}.map((d) => d.className)")) == {f"by-{axis}"}


def test_light_and_dark(page):
    background = "return getComputedStyle(document.body).backgroundColor"
    colours = {}
    for preferred in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": preferred}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours[preferred] = page.execute_script(background)
    assert colours["light"] != colours["dark"]
    choose = "const t = document.querySelector('#theme'); t.value = arguments[0]; t.dispatchEvent(new Event('change'))"
    page.execute_script(choose, "light")  # the system is dark still
    assert page.execute_script(background) == colours["light"]
    page.execute_script(choose, "system")
    assert page.execute_script(background) == colours["dark"]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("width", [320, 375])
def test_a_phone_does_not_scroll_sideways(page, width):
    size(page, width)
    found = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    size(page, 1200)
    assert found == [width, width]


CHOICES = """
    const one = (css) => document.querySelector(css), value = (css) => one(css).value;
    const open = [...document.querySelectorAll("details[open]")].map((d) => d.querySelector("summary").textContent);
    const at = one("#network .sums").getBoundingClientRect().top;
    return {theme: value("#theme"), axis: one("[data-axes]").dataset.axes, checkpoint: one(".at").textContent, open,
        slider: value(".checkpoint"), image: one(".what").textContent, filter: value(".filters :checked"),
        pixel: [one(".sum").dataset.row, one(".sum").dataset.column], focus: document.activeElement.className,
        top: Math.round(at), probabilities: one(".probabilities").textContent};"""
CHOOSE = """
    const one = (css) => document.querySelector(css), send = (e, name) => e.dispatchEvent(new Event(name));
    one("#theme").value = "dark"; send(one("#theme"), "change");
    one("input.x[value=seconds]").click();
    one(".checkpoint").value = 3; send(one(".checkpoint"), "input");
    document.querySelectorAll(".images input")[2].click();
    document.querySelectorAll(".filters input")[1].click();
    one("#reproduce details").open = true; one("#curves details").open = true;
    for (const key of ["ArrowUp", "ArrowLeft"]) one(".map").dispatchEvent(new KeyboardEvent("keydown", {key}));
    one(".map").focus({preventScroll: true});
    scrollTo({top: scrollY + one("#network .sums").getBoundingClientRect().top - 300, behavior: "instant"});"""


def seen_again(browser, what: str, seconds: float = 15) -> None:
    """Wait until the notes of the page hold a text: the browser has loaded the page that was written last."""
    from selenium.webdriver.support.wait import WebDriverWait

    ready = "return document.readyState === 'complete' && document.querySelector('.notes').textContent"
    WebDriverWait(browser, seconds).until(lambda found: what in (found.execute_script(ready) or ""))


def test_a_page_that_is_watched_keeps_what_the_reader_chose(browser, straight, tmp_path, monkeypatch):
    """It loads itself again while training goes on; another findings' length moves nothing under the reader's eyes."""
    folder = hostile_copy(straight, tmp_path)
    path, run = tmp_path / "watched.html", Run(folder)
    run.total_steps += 40  # training goes on
    monkeypatch.setattr(page_module, "RELOAD", 1)
    (folder / "notes.md").write_text("first")
    with mock.patch("core.data.load", lambda *given: tenth_of_shapes10()):
        material = report.material(run, "")
    path.write_text(report.page([material], True))
    size(browser, 1200)
    browser.get(path.as_uri())
    seen_again(browser, "first")
    browser.execute_script(CHOOSE + "dispatchEvent(new PointerEvent('pointerdown'));")
    chosen = browser.execute_script(CHOICES)
    assert (chosen["slider"], chosen["filter"], chosen["theme"], chosen["axis"]) == ("3", "1", "dark", "seconds")
    assert chosen["focus"] == "map" and chosen["top"] == 300 and len(chosen["open"]) == 2
    (folder / "notes.md").write_text("second")
    longer = report.page([material], True).replace("</h2>", "</h2><p>A line more.</p>", 1)
    report.write(longer, path)
    time.sleep(1.5)
    assert shown(browser, ".notes") == "first"  # a button is down: nothing is taken from under the hand
    browser.execute_script("dispatchEvent(new PointerEvent('pointerup'))")
    seen_again(browser, "second")
    assert browser.execute_script(CHOICES) == chosen
    # The last checkpoint stays the last one, and a page opened anew begins anew.
    last = "const s = document.querySelector('.checkpoint'); s.value = s.max; s.dispatchEvent(new Event('input'));"
    browser.execute_script(last)
    (folder / "notes.md").write_text("third")
    report.write(report.page([material]), path)
    seen_again(browser, "third")
    assert shown(browser, ".at").startswith("step 60") and browser.execute_script(CHOICES)["filter"] == "1"
    browser.get("about:blank")
    browser.get(path.as_uri())
    found = browser.execute_script(CHOICES)
    assert (found["theme"], found["filter"], found["open"]) == ("system", "0", [])
    assert browser.get_log("browser") == []


def test_two_runs_of_which_one_has_no_checkpoints(browser, folder, tmp_path):
    other = MadeRun().write(tmp_path, "other")
    (tmp_path / "report.html").write_text(
        report.page([report.material(other, ""), report.material(Run(folder), "")]), encoding="utf-8"
    )
    size(browser, 375)
    browser.get((tmp_path / "report.html").as_uri())
    found = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    size(browser, 1200)
    assert browser.get_log("browser") == [] and found == [375, 375]
    assert browser.execute_script("return document.querySelector('main > *').id") == "comparison"
