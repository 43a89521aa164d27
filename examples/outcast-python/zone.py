"""The task of one zone: fetches its page and turns it into data.

Python 3 and its standard library only. The platform sets PAYLOAD_FILE and RESULT_FILE. To read pages by hand:
`python3 zone.py --parse FILE...` prints a line of JSON for each.
"""

import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

TIMEOUT_S = 20
MAX_PAGE_BYTES = 128 * 1024
MAX_ZONES = 1000

PHENOMENA = [  # Longer phrases first: a tropical storm warning is not also a storm warning.
    ("HURRICANE FORCE WIND", "hurricane_force_wind"),
    ("HEAVY FREEZING SPRAY", "heavy_freezing_spray"),
    ("FREEZING SPRAY", "freezing_spray"),
    ("TROPICAL STORM", "tropical_storm"),
    ("SMALL CRAFT", "small_craft"),
    ("HAZARDOUS SEAS", "hazardous_seas"),
    ("HAZARDOUS SEA", "hazardous_seas"),
    ("BRISK WIND", "brisk_wind"),
    ("DENSE FOG", "dense_fog"),
    ("DENSE SMOKE", "dense_smoke"),
    ("ROUGH BAR", "rough_bar"),
    ("LOW WATER", "low_water"),
    ("HURRICANE", "hurricane"),
    ("STORM", "storm"),
    ("GALE", "gale"),
]
HAZARD = re.compile(
    r"\b(" + "|".join(phrase for phrase, _ in PHENOMENA) + r") (WARNING|ADVISORY|WATCH)\b"
)
CLOCKS = {
    "UTC": 0, "GMT": 0, "AST": -4, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "PST": -8, "PDT": -7,
    "AKST": -9, "AKDT": -8, "HST": -10, "SST": -11, "CHST": 10,
}  # fmt: skip
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
SMALL = set("and at de from in near of off or out the to".split())
CAPITALS = set("AK AL CA CT DC DE FL GA IL MA MD MI MN MS NC NJ NM NY OH RI SC TX VA WA WI".split())
DAYS = set("monday tuesday wednesday thursday friday saturday sunday".split())
DIRECTIONS = {point.lower(): point for point in "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()}
DIRECTIONS |= {
    "north": "N", "northeast": "NE", "east": "E", "southeast": "SE",
    "south": "S", "southwest": "SW", "west": "W", "northwest": "NW",
}  # fmt: skip
CHANGES = set(
    "becoming increasing diminishing decreasing easing rising building subsiding shifting veering backing turning "
    "falling then".split()
)
NOUNS = {"wind", "winds", "gales", "gale"}
FILLERS = NOUNS | {"the", "from", "mainly", "mostly", "storm", "hurricane", "force", "light"}
GUSTS = {"gust", "gusts", "gusting"}
KNOTS = {"kt", "kts", "knots", "knot"}
FEET = {"ft", "feet", "foot"}
SECONDS = {"second", "seconds", "sec", "s"}
SURFACES = {("seas",): "seas", ("combined", "seas"): "seas", ("waves",): "waves", ("wind", "waves"): "wind_waves"}
MILES = {"nm", "mile", "miles", "nautical"}


class BadPage(Exception):
    """What is wrong with a page, and where."""


class Failure(Exception):
    """Why the worker could not do its work, in a line."""


# The page as lines.


def parse(page):
    """Reads the first forecast on a page (bytes) into what becomes its JSON."""
    lines = [line.strip("\x01\x03\x1e").strip() for line in text_of(page).split("\n")]
    for number, line in enumerate(lines, 1):
        if line.lower().startswith(("<!doctype", "<html", "<head", "<body")):
            raise BadPage(f"line {number}: a web page, not a forecast")
    at = next((n for n, line in enumerate(lines) if re.match(r"[A-Z]{2}[ZC][0-9]{3}[->]", line)), None)
    issued_at = None
    for number, line in enumerate(lines[:at], 1):
        if looks_like_issue_time(line):
            issued_at = issue_time(number, line)
    if at is None:
        raise BadPage("no UGC line")

    ugc, ugc_line, expiry = "", at + 1, None
    for line in lines[at : at + 10]:
        at += 1
        ugc += line
        expiry = re.search(r"-([0-9]{6})-$", ugc)
        if expiry or not line:
            break
    if not expiry:
        raise BadPage(f"line {ugc_line}: bad UGC line {quoted(ugc)}: no expiry time at its end")

    zones = zones_of(ugc)
    if not zones:
        raise BadPage(f"line {ugc_line}: bad UGC line {quoted(ugc)}: no such zones")

    names = []
    while at < len(lines) and not lines[at].startswith(".") and lines[at] != "$$":
        line, at = lines[at], at + 1
        if looks_like_issue_time(line):
            issued_at = issue_time(at, line)
            break
        if not line:
            break
        names.append(line)
    name = " ".join(names).replace("- ", ", ").strip("- ")
    if not name:
        raise BadPage(f"line {ugc_line}: no zone name after the UGC line")
    if issued_at is None:
        raise BadPage("no issue time line")
    expires_at = expiry_time(expiry[1], issued_at)
    if expires_at is None:
        raise BadPage(f"line {ugc_line}: bad UGC line {quoted(ugc)}: no such expiry time")

    body = lines[at : lines.index("$$", at)] if "$$" in lines[at:] else lines[at:]
    is_upper = not any(char.islower() for line in body if not line.startswith("...") for char in line)
    headlines, at = read_headlines(lines, at)
    synopsis, periods = read_blocks(lines, at, is_upper)
    return {
        "zones": zones,
        "name": title_case(name) if is_upper else name,
        "issued_at": issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "headlines": headlines,
        "hazards": [hazard for headline in headlines for hazard in hazards_in(headline)],
        "synopsis": synopsis,
        "periods": periods,
    }


def zones_of(ugc):
    """The zones a whole zone line names: `ANZ230>232-251-250515-` are four. Letters hold until others come."""
    area, zones = "", []
    for part in ugc.split("-")[:-2]:
        found = re.fullmatch(r"([A-Z]{2}[ZC])?([0-9]{3})(?:>([0-9]{3}))?", part)
        if not found or len(zones) > MAX_ZONES:
            return []
        area = found[1] or area
        first, last = int(found[2]), int(found[3] or found[2])
        zones += [f"{area}{number:03}" for number in range(first, last + 1)]
    return zones


def text_of(page):
    if len(page) > MAX_PAGE_BYTES:
        raise BadPage(f"page of {len(page)} bytes, too long for a forecast")
    for offset, byte in enumerate(page):
        if byte < 32 and byte not in (1, 3, 9, 10, 13, 30):
            raise BadPage(f"not text: byte 0x{byte:02x} at byte {offset}")
    try:
        text = page.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadPage(f"not text: broken UTF-8 at byte {error.start}") from error
    if not text.strip():
        raise BadPage("empty page")
    return text


def read_headlines(lines, at):
    headlines = []
    while at < len(lines) and lines[at] != "$$" and block_of(lines[at]) is None:
        text, at = lines[at], at + 1
        if not text.startswith("..."):
            continue
        start = at
        while len(text) <= 3 or not text.endswith("..."):
            if at >= len(lines) or not lines[at] or lines[at].startswith(".") or lines[at] == "$$":
                raise BadPage(f'line {start}: headline without its closing "..."')
            text, at = f"{text} {lines[at]}", at + 1
        headlines.append(text.strip(". ").upper())
    return headlines, at


def read_blocks(lines, at, is_upper):
    blocks, end = [], None
    for number, line in enumerate(lines[at:], at + 1):
        if line == "$$":
            end = number
            break
        block = block_of(line)
        if block:
            blocks.append((block[0], number, [block[1]]))
        elif blocks:
            blocks[-1][2].append(line)
    if end is None:
        last = max(number for number, line in enumerate(lines, 1) if line)
        if not blocks:
            raise BadPage(f'page ends at line {last} before the first period (no "$$")')
        raise BadPage(f'page ends within period ".{blocks[-1][0]}" at line {last} (no "$$")')
    synopsis, periods = None, []
    for name, number, texts in blocks:
        text = " ".join(texts)
        found = sentences(text)
        if not found:
            raise BadPage(f'line {number}: nothing in period ".{name}"')
        if name.upper().startswith("SYNOPSIS"):
            synopsis = ". ".join(sentence_case(sentence) if is_upper else sentence for sentence in found) + "."
        else:
            periods.append(read_period(name, found, is_upper))
    if not periods:
        raise BadPage(f'line {end}: "$$" before the first period')
    return synopsis, periods


def block_of(line):
    """Splits `.TUE NIGHT...SW winds` into name and text."""
    if not re.match(r"\.[^.]", line):
        return None
    name, dots, text = line[1:].partition("...")
    return (name if dots else name.rstrip(".")).strip(), text


def hazards_in(headline):
    names = dict(PHENOMENA)
    return [{"phenomenon": names[what], "significance": how.lower()} for what, how in HAZARD.findall(headline)]


# Times.


def looks_like_issue_time(line):
    return re.match(r"[0-9]{3,4}\s+[AaPp][Mm](\s|$)", line) is not None


def issue_time(number, line):
    def bad(why):
        return BadPage(f"line {number}: bad issue time {quoted(line)}: {why}")

    words = " ".join(line.upper().split("/")[::2]).split()
    if len(words) != 7:
        raise bad("expected time, AM or PM, time zone, weekday, month, day, year")
    clock, half, zone, _weekday, month, day, year = words
    hour, minute = divmod(int(clock), 100)
    if not 1 <= hour <= 12 or minute > 59:
        raise bad("no such time of day")
    if zone not in CLOCKS:
        raise bad("unknown time zone")
    if month not in MONTHS:
        raise bad("unknown month")
    try:
        local = datetime(int(year), MONTHS.index(month) + 1, int(day), hour % 12 + (12 if half == "PM" else 0), minute)
        return (local - timedelta(hours=CLOCKS[zone])).replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        raise bad("no such day") from None


def expiry_time(ddhhmm, issued_at):
    """The first instant of that name which is not more than a day before the issue time."""
    earliest = issued_at - timedelta(hours=24)
    for ahead in range(3):
        year, month = divmod(earliest.year * 12 + earliest.month - 1 + ahead, 12)
        try:
            at = datetime(
                year, month + 1, int(ddhhmm[:2]), int(ddhhmm[2:4]), int(ddhhmm[4:]), tzinfo=timezone.utc
            )
        except ValueError:
            continue
        if at >= earliest:
            return at
    return None


# One period.


def read_period(name, found, is_upper):
    period = {"name": name.upper(), "wind": [], "sea": [], "swell": [], "visibility_nm": None, "weather": []}
    for sentence in found:
        words = words_of(sentence)
        if wind := read_wind(words):
            period["wind"] += wind
        elif sea := read_sea(words):
            period["sea"] += sea
        elif swell := read_swell(words):
            period["swell"] += swell
        elif period["wind"] and (gusts := read_gusts(words)):
            period["wind"][-1]["gusts"] = gusts
        else:
            seen, is_alone = read_visibility(words)
            if seen:
                old = period["visibility_nm"]
                if old is None or (seen["min"], seen["max"]) < (old["min"], old["max"]):
                    period["visibility_nm"] = seen
            if not (seen and is_alone):
                period["weather"].append(sentence_case(sentence) if is_upper else sentence)
    return period


def sentences(text):
    """Splits text at full stops that end a word. Three in a row are a comma."""
    parts = (text.replace("...", ", ") + " ").split(". ")
    tidy = (" ".join(part.split()).strip(", ") for part in parts)
    return [part for part in tidy if part]


def words_of(sentence):
    return [word for word in (word.strip(",;:").lower() for word in sentence.split()) if word]


def steps_of(words):
    """Splits where the wind or sea changes; the words that announce the change are dropped."""
    steps, step = [], []
    for word in words:
        if word in CHANGES:
            steps.append(step)
            step = []
        else:
            step.append(word)
    steps.append(step)
    for nth, step in enumerate(steps):
        if step and step[-1] == "and":
            step.pop()
        if nth and step and step[0] == "to":
            del step[0]
    return [step for step in steps if step]


def read_wind(words):
    is_light = words[:3] == ["light", "and", "variable"]
    if not is_light and not NOUNS.intersection(words[:6]):
        return None
    winds = []
    for step in steps_of(words):
        origin, speed, gusts, when, is_light = read_step(step)
        if not winds:
            if origin is None or (speed is None and origin):
                return None
        elif origin is None and speed is None:  # "diminishing after midnight" says when, not what.
            winds[-1]["gusts"] = gusts or winds[-1]["gusts"]
            winds[-1]["when"] = joined([winds[-1]["when"], when])
            continue
        else:  # What a change does not mention stays as it was.
            origin = winds[-1]["from"] if origin is None else origin
            speed = speed or (None if is_light else winds[-1]["speed_kt"])
        winds.append({"from": origin, "speed_kt": speed, "gusts": gusts, "when": when})
    return winds


def read_step(words):
    is_light = "light" in words
    after, gusts = [], None
    at = next((n for n, word in enumerate(words) if word in GUSTS), None)
    found = amount(words[at:], KNOTS) if at is not None else None
    if found:
        gusts = {"max_kt": found[0]["max"], "when": None}
        after = words[at + found[2] :]
        words = words[: at - 1] if at and words[at - 1] in ("with", "and") else words[:at]
    origin, at = leading_directions(words)
    words = words[at:]
    found = amount(words, KNOTS)
    if not found:
        return origin, None, gusts, joined(words + after), is_light
    speed, start, end = found
    return origin, speed, gusts, joined(words[:start] + words[end:] + after), is_light


def leading_directions(words):
    points, is_variable, at = [], False, 0
    for at, word in enumerate(words + [""]):
        following = words[at + 1] if at + 1 < len(words) else ""
        if word in DIRECTIONS:
            points.append(DIRECTIONS[word])
        elif word == "variable":
            is_variable = True
        elif word in ("to", "and", "or") and (following in DIRECTIONS or following == "variable"):
            pass
        elif word not in FILLERS:
            break
    if is_variable:
        return [], at
    return points or None, at


def read_gusts(words):
    found = amount(words, KNOTS) if words and words[0] in GUSTS else None
    if not found:
        return None
    gusts, start, end = found
    return {"max_kt": gusts["max"], "when": joined(words[1 : max(start, 1)] + words[end:])}


def read_sea(words):
    start = next((start for start in SURFACES if words[: len(start)] == list(start)), None)
    if start is None:
        return None
    surface, words = SURFACES[start], words[len(start) :]
    heights = []
    for step in steps_of(words):
        found = amount(step, FEET)
        if found:
            height, start, end = found
            heights.append({"surface": surface, "height_ft": height, "when": joined(step[:start] + step[end:])})
        elif not heights:
            return None
        else:
            heights[-1]["when"] = joined([heights[-1]["when"]] + step)
    return heights


def read_swell(words):
    if words[:2] == ["wave", "detail"]:
        words = words[2:]
    trains = []
    while words:
        if words[0] not in DIRECTIONS:
            return None
        origin, words = DIRECTIONS[words[0]], words[1:]
        words = words[1:] if words[:1] == ["swell"] else words
        height = amount(words, FEET)
        if not height or height[1] != 0:
            return None
        words = words[height[2] :]
        period = amount(words, SECONDS)
        if not period or period[1] != 1 or words[0] != "at":
            return None
        words = words[period[2] :]
        words = words[1:] if words[:1] == ["and"] else words
        trains.append({"from": origin, "height_ft": height[0], "period_s": period[0]["max"]})
    return trains


def read_visibility(words):
    at = next((n for n, word in enumerate(words) if word in ("vsby", "visibility", "visibilities")), None)
    found = amount(words[at:], MILES, number=float) if at is not None else None
    return (found[0], at == 0) if found else (None, False)


def amount(words, units, number=int):
    """The first `5 to 10 kt`, `2 ft or less`, `less than 10 kt`, `to 25 kt`, `around 4 ft`: range, start, end."""

    def word(at):
        return words[at] if 0 <= at < len(words) else ""

    for at in range(len(words)):
        low, dash, high = word(at).partition("-")
        first, second, unit = value_of(low), value_of(high) if dash else None, at + 1
        if not dash and word(at + 1) in ("to", "or", "and") and value_of(word(at + 2)) is not None:
            second, unit = value_of(word(at + 2)), at + 3
        if first is None or (dash and second is None) or word(unit) not in units:
            continue
        lowest, highest, start, end = first, first if second is None else second, at, unit + 1
        if word(end) == "or" and word(end + 1) == "less":
            lowest, end = 0.0, end + 2
        before = (word(at - 2), word(at - 1))
        if before in (("less", "than"), ("up", "to")):
            start, is_bound = at - 2, True
        elif before[1] == "to":
            start, is_bound = at - 1, True
        elif before[1] in ("around", "near", "about"):
            start, is_bound = at - 1, False
        else:
            is_bound = False
        if is_bound and second is None:
            lowest = 0.0
        if lowest <= highest:
            if number is int and (lowest % 1 or highest % 1):
                return None
            return {"min": number(lowest), "max": number(highest)}, start, end
    return None


def value_of(word):
    if not re.fullmatch(r"[0-9]{1,4}(/[0-9]{1,4})?", word):
        return None
    above, _, below = word.partition("/")
    if not below:
        return float(above)
    return float(above) / float(below) if int(below) else None


def joined(words):
    return " ".join(word for word in words if word) or None


# Upper case.


def title_case(upper):
    title = ""
    for word in re.findall(r"[^ /-]*[ /-]|[^ /-]+$", upper):
        bare = word.rstrip(" -/,")
        if bare in CAPITALS and not (bare == "DE" and word.endswith(" ")):
            title += word
        elif bare.lower() in SMALL and title:
            title += word.lower()
        else:
            title += capitalised(word.lower())
    return title


def sentence_case(upper):
    words = [word.lower() for word in upper.split(" ")]
    return capitalised(" ".join(capitalised(word) if word.rstrip(",.") in DAYS else word for word in words))


def capitalised(text):
    return text[:1].upper() + text[1:]


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


# The task.


def page_url(site, zone):
    """The address of a zone's page: a template, the real site, or a site with the layout of the practice one."""
    if "{" not in site:
        if "tgftp.nws.noaa.gov" in site:
            site = "https://tgftp.nws.noaa.gov/data/forecasts/marine/coastal/{area}/{zone}.txt"
        else:
            site = site.rstrip("/") + "/forecasts/{ZONE}.txt"
    lower = zone.lower()
    return site.replace("{ZONE}", zone).replace("{zone}", lower).replace("{area}", lower[:2])


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise Failure(f"{url} answered {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"no answer from {url}: {error}") from error


def main():
    try:
        with open(os.environ["PAYLOAD_FILE"], encoding="utf-8") as file:
            payload = json.loads(file.read().strip() or "{}")
    except ValueError as error:
        raise Failure(f"bad payload: {error}") from error
    for field in ("zone", "site"):
        if field not in payload:
            raise Failure(f"bad payload: missing field `{field}`")
    zone = payload["zone"].upper()
    url = page_url(payload["site"], zone)
    try:
        forecast = parse(fetch(url))
    except BadPage as bad:
        raise Failure(f"{url}: {bad}") from bad
    if zone not in forecast["zones"]:
        raise Failure(f"{url}: a forecast for {', '.join(forecast['zones'])} instead")
    path = os.environ.get("RESULT_FILE")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(forecast, file)
    else:
        print(json.dumps(forecast))
    headlines = "".join(f"; {headline}" for headline in forecast["headlines"])
    count = len(forecast["periods"])
    print(f"{zone} {forecast['name']}: {count} periods, good until {forecast['expires_at']}{headlines}")


def parse_files(paths):
    for path in paths:
        with open(path, "rb") as file:
            page = file.read()
        try:
            print(json.dumps(parse(page)))
        except BadPage as bad:
            print(json.dumps({"error": str(bad)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--parse"]:
        parse_files(sys.argv[2:])
    else:
        try:
            main()
        except Failure as failure:
            sys.exit(f"outcast-zone: {failure}")
