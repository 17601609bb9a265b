"""The page in a real browser: headless Chromium, without the network."""

import html
import json
import re
import shutil
import subprocess

import pytest

from sfumato.tables.results import case_lines, overall_tables, report_summary

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium here: install Debian's package chromium to test the page in a browser",
)

LISTEN = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push("error: " + event.message));
addEventListener("unhandledrejection", (event) => problems.push("rejection: " + event.reason));
addEventListener("securitypolicyviolation", (event) => problems.push("refused: " + event.blockedURI));
</script>"""

# Works the page as a reader would, and leaves what it saw on the root element.
ACT = """<script>
addEventListener("load", async () => {
  const seen = {};
  const find = (name) => document.getElementById("v-" + name);
  const canvas = find("canvas");
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const until = async (test) => { for (let i = 0; i < 200 && !test(); i++) await pause(10); };
  const change = (name, kind) => find(name).dispatchEvent(new Event(kind, { bubbles: true }));
  const wheel = (by) => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: by, cancelable: true }));
  const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
  const settled = async () => { await pause(60); return Number(canvas.dataset.slice); };
  await until(() => canvas.dataset.slice !== undefined);

  const table = document.querySelector("#results table");
  const methods = () => Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent);
  seen.order = [methods()];
  table.tHead.rows[0].cells[1].click();
  seen.order.push(methods());
  table.tHead.rows[0].cells[1].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  seen.order.push(methods());
  seen.sorted = table.tHead.rows[0].cells[1].getAttribute("aria-sort");

  seen.cases = Array.from(find("case").options, (option) => option.value);
  seen.first = canvas.dataset.case;
  seen.slider = [Number(find("slice").min), Number(find("slice").max)];
  find("slice").value = "0";
  change("slice", "input");
  seen.slices = [await settled()];
  const before = canvas.toDataURL();
  find("slice").value = "3";
  change("slice", "input");
  seen.slices.push(await settled());
  seen.changed = canvas.toDataURL() !== before;
  wheel(1);
  seen.slices.push(await settled());
  wheel(1);
  seen.slices.push(await settled());
  press("ArrowLeft");
  seen.slices.push(await settled());
  press("PageDown");
  seen.slices.push(await settled());

  find("axis").value = "2";
  change("axis", "change");
  find("slice").value = "1";
  change("slice", "input");
  find("soft").checked = true;
  find("uncertainty").checked = true;
  change("soft", "change");
  await settled();
  const box = canvas.getBoundingClientRect();
  seen.readings = [];
  for (let row = 0; row < 12; row++) {
    for (let column = 0; column < 9; column++) {
      const clientX = box.left + (column + 0.5) / 9 * box.width;
      const clientY = box.top + (row + 0.5) / 12 * box.height;
      canvas.dispatchEvent(new MouseEvent("mousemove", { clientX, clientY }));
      seen.readings.push(find("readout").textContent);
    }
  }
  seen.shape = box.width / box.height;
  const full = canvas.toDataURL();
  find("opacity").value = "0";
  change("opacity", "input");
  await settled();
  seen.opacity = canvas.toDataURL() !== full;

  find("method").value = "geols";
  change("method", "change");
  await settled();
  seen.disabled = ["soft", "target", "uncertainty"].map((name) => find(name).disabled);
  find("method").value = "singr";
  change("method", "change");
  await settled();
  seen.enabled = ["soft", "target", "uncertainty"].map((name) => !find(name).disabled);
  find("next").click();
  await settled();
  seen.second = canvas.dataset.case;
  find("order").value = "best";
  change("order", "change");
  await settled();
  seen.best = canvas.dataset.case;

  const tabs = document.querySelectorAll("#spread .tabs button");
  tabs[1].click();
  const panels = Array.from(document.querySelectorAll("#spread figure"));
  seen.panels = panels.map((panel) => getComputedStyle(panel).display);
  seen.broken = Array.from(document.images).filter((image) => !image.naturalWidth).length;
  seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  seen.requests = loaded.filter((name) => !name.startsWith("data:"));
  seen.problems = problems;
  document.documentElement.dataset.seen = JSON.stringify(seen);
});
</script>"""


@pytest.fixture(scope="module")
def visit(page, tmp_path_factory):
    """What the browser said and saw."""
    folder = tmp_path_factory.mktemp("browser")
    text = page.read_text().replace("<style>", LISTEN + "<style>", 1).replace("</body>", ACT + "</body>")
    (folder / "acted.html").write_text(text)
    command = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ),
        *(f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *("--window-size=1400,1200", "--enable-logging=stderr", "--virtual-time-budget=30000", "--dump-dom"),
        (folder / "acted.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, f"the page did not come to its end: {done.stderr[-2000:]}"
    return json.loads(html.unescape(found.group(1))), done.stderr


def test_page_loads_without_errors_or_requests(visit):
    seen, said = visit
    assert seen["problems"] == []
    assert seen["requests"] == []
    assert seen["broken"] == 0
    assert [line for line in said.splitlines() if "CONSOLE" in line] == []


def test_page_is_no_wider_than_a_laptop_s_window(visit):
    assert visit[0]["wide"] <= 0


def test_heading_sorts_the_table_up_and_down(visit, data):
    seen = visit[0]
    (table,) = overall_tables(report_summary(data.rows))
    dice = {row[0].text: row[1].value for row in table.rows}
    by_dice = sorted(dice, key=dice.get)
    assert seen["order"] == [list(dice), by_dice, by_dice[::-1]]
    assert seen["sorted"] == "descending"


def test_slices_follow_slider_wheel_and_keys(visit):
    seen = visit[0]
    assert seen["slider"] == [0, 4]
    assert seen["slices"] == [0, 3, 4, 4, 3, 0], "the last slices are a stop, not a jump"
    assert seen["changed"]


def test_cases_come_worst_first_or_best_first(visit, data):
    seen, order = visit[0], [line.case for line in case_lines(data.rows)]
    assert seen["cases"] == order
    assert (seen["first"], seen["second"], seen["best"]) == (order[0], order[1], order[-1])


def test_readings_under_the_pointer_are_the_arrays_values(visit, data):
    """The shown axes, the turn of the picture and the decoding are right only if every voxel agrees."""
    seen = visit[0]
    case = next(case for case in data.cases if case.name == seen["first"])
    ce = case.predictions["ce"]
    assert len(seen["readings"]) == 9 * 12
    for number, text in enumerate(seen["readings"]):
        row, column = divmod(number, 9)
        place = (column, 11 - row, 1)
        assert f"voxel ({place[0]}, {place[1]}, {place[2]})" in text
        assert f"reference: {data.label_names[int(case.reference[place])]} " in text
        assert f"prediction: {data.label_names[int(ce.labels[place])]} " in text
        soft = float(re.search(r"soft prediction: (\d\.\d\d)", text).group(1))
        assert soft == pytest.approx(float(ce.soft[1][place]), abs=0.0051)
        uncertainty = float(re.search(r"uncertainty: (\d\.\d\d)", text).group(1))
        assert uncertainty == pytest.approx(float(ce.uncertainty[place]), abs=0.0101)


def test_picture_keeps_the_voxels_proportions(visit):
    assert visit[0]["shape"] == pytest.approx(9 * 1.0 / (12 * 0.8), rel=0.02)


def test_layers_that_a_method_lacks_cannot_be_chosen(visit):
    seen = visit[0]
    assert seen["disabled"] == [True, True, True]
    assert seen["enabled"] == [True, True, False]
    assert seen["opacity"]


def test_tab_shows_its_panel_alone(visit):
    assert visit[0]["panels"] == ["none", "block", *["none"] * (len(visit[0]["panels"]) - 2)]
