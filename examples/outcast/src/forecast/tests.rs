//! Awkward pages. The ordinary ones are tested where they are made up, in `site`.

use proptest::prelude::*;

use super::*;

/// A whole page around the text of one period.
fn page_of(period: &str) -> String {
    format!(
        "000\nFZUS51 KBOX 242115\nCWFBOX\n\n415 PM EST Tue Nov 24 2026\n\nANZ230-250515-\nBoston Harbor-\n\
         415 PM EST Tue Nov 24 2026\n\n.TONIGHT...{period}\n\n$$\n"
    )
}

fn period_of(text: &str) -> Period {
    parse(page_of(text).as_bytes()).unwrap().periods.remove(0)
}

fn wind(from: &[Direction], speed: Option<(u16, u16)>, gust: Option<u16>, when: Option<&str>) -> Wind {
    Wind {
        from: from.to_vec(),
        speed_kt: speed.map(|(min, max)| Range { min, max }),
        gusts: gust.map(|max_kt| Gust { max_kt, when: None }),
        when: when.map(str::to_owned),
    }
}

fn error_of(page: &str) -> String {
    parse(page.as_bytes()).unwrap_err().to_string()
}

use Direction::{E, N, NE, NW, S, SE, SW, W};

#[test]
fn a_whole_page_becomes_json() {
    let page = "\
Expires:202611250515;;000000
000
FZUS51 KBOX 242115
CWFBOX

Coastal Waters Forecast
National Weather Service Boston/Norton MA
415 PM EST Tue Nov 24 2026

ANZ230-250515-
Boston Harbor-
415 PM EST Tue Nov 24 2026

...SMALL CRAFT ADVISORY IN EFFECT THROUGH WEDNESDAY EVENING...
...GALE WATCH IN EFFECT FROM THURSDAY MORNING THROUGH
THURSDAY EVENING...

Winds and seas are higher in and near thunderstorms.

.TONIGHT...SW winds 15 to 20 kt with gusts up to 30 kt. Seas 3 to
5 ft. Wave Detail: SW 4 ft at 8 seconds and E 2 ft at 5 seconds.
A chance of rain with vsby 1 to 3 NM.
.WED...W winds 20 to 25 kt.

$$
Forecaster Doe
";
    let forecast = parse(page.as_bytes()).unwrap();
    let expected = serde_json::json!({
        "zones": ["ANZ230"],
        "name": "Boston Harbor",
        "issued_at": "2026-11-24T21:15:00Z",
        "expires_at": "2026-11-25T05:15:00Z",
        "headlines": [
            "SMALL CRAFT ADVISORY IN EFFECT THROUGH WEDNESDAY EVENING",
            "GALE WATCH IN EFFECT FROM THURSDAY MORNING THROUGH THURSDAY EVENING",
        ],
        "hazards": [
            {"phenomenon": "small_craft", "significance": "advisory"},
            {"phenomenon": "gale", "significance": "watch"},
        ],
        "synopsis": null,
        "periods": [
            {
                "name": "TONIGHT",
                "wind": [{
                    "from": ["SW"],
                    "speed_kt": {"min": 15, "max": 20},
                    "gusts": {"max_kt": 30, "when": null},
                    "when": null,
                }],
                "sea": [{"surface": "seas", "height_ft": {"min": 3, "max": 5}, "when": null}],
                "swell": [
                    {"from": "SW", "height_ft": {"min": 4, "max": 4}, "period_s": 8},
                    {"from": "E", "height_ft": {"min": 2, "max": 2}, "period_s": 5},
                ],
                "visibility_nm": {"min": 1.0, "max": 3.0},
                "weather": ["A chance of rain with vsby 1 to 3 NM"],
            },
            {
                "name": "WED",
                "wind": [{"from": ["W"], "speed_kt": {"min": 20, "max": 25}, "gusts": null, "when": null}],
                "sea": [],
                "swell": [],
                "visibility_nm": null,
                "weather": [],
            },
        ],
    });
    assert_eq!(serde_json::to_value(&forecast).unwrap(), expected);
}

#[test]
fn wind_is_read_in_the_ways_offices_write_it() {
    let cases: [(&str, Vec<Wind>); 22] = [
        ("SW winds 10 to 15 kt", vec![wind(&[SW], Some((10, 15)), None, None)]),
        ("W to NW winds 20 kt", vec![wind(&[W, NW], Some((20, 20)), None, None)]),
        ("Southwest winds 5 to 10 knots", vec![wind(&[SW], Some((5, 10)), None, None)]),
        ("North winds to 30 knots", vec![wind(&[N], Some((0, 30)), None, None)]),
        ("NW wind 5 kt or less", vec![wind(&[NW], Some((0, 5)), None, None)]),
        ("Winds S around 10 kt", vec![wind(&[S], Some((10, 10)), None, None)]),
        ("Variable winds less than 10 kt", vec![wind(&[], Some((0, 10)), None, None)]),
        ("Winds variable 5 kt or less", vec![wind(&[], Some((0, 5)), None, None)]),
        ("Light and variable winds", vec![wind(&[], None, None, None)]),
        ("Light and variable", vec![wind(&[], None, None, None)]),
        ("NW gales 35 to 40 kt", vec![wind(&[NW], Some((35, 40)), None, None)]),
        ("N storm force winds up to 50 kt", vec![wind(&[N], Some((0, 50)), None, None)]),
        ("NE winds 15-20 kt", vec![wind(&[NE], Some((15, 20)), None, None)]),
        (
            "SW winds 10 to 15 kt, becoming W 15 to 20 kt after midnight",
            vec![
                wind(&[SW], Some((10, 15)), None, None),
                wind(&[W], Some((15, 20)), None, Some("after midnight")),
            ],
        ),
        (
            "SW WINDS 10 TO 15 KT...BECOMING W AFTER MIDNIGHT",
            vec![
                wind(&[SW], Some((10, 15)), None, None),
                wind(&[W], Some((10, 15)), None, Some("after midnight")),
            ],
        ),
        (
            "S wind 5 to 15 kt easing to 5 kt in the afternoon",
            vec![
                wind(&[S], Some((5, 15)), None, None),
                wind(&[S], Some((5, 5)), None, Some("in the afternoon")),
            ],
        ),
        (
            "E winds 10 to 15 kt, increasing to 20 to 25 kt late, then shifting to the SE",
            vec![
                wind(&[E], Some((10, 15)), None, None),
                wind(&[E], Some((20, 25)), None, Some("late")),
                wind(&[SE], Some((20, 25)), None, None),
            ],
        ),
        (
            "NE winds 20 to 25 kt with gusts up to 35 kt this evening, becoming light and variable",
            vec![wind(&[NE], Some((20, 25)), Some(35), Some("this evening")), wind(&[], None, None, None)],
        ),
        (
            "SE winds 15 kt, diminishing after midnight",
            vec![wind(&[SE], Some((15, 15)), None, Some("after midnight"))],
        ),
        ("S winds 25 kt and gusting to 35 kt", vec![wind(&[S], Some((25, 25)), Some(35), None)]),
        ("Isolated thunderstorms with gusty winds", vec![]),
        ("Southwest winds aloft", vec![]),
    ];
    for (text, expected) in cases {
        assert_eq!(period_of(&format!("{text}.")).wind, expected, "{text}");
    }
}

#[test]
fn gusts_in_a_sentence_of_their_own_belong_to_the_last_wind() {
    let period = period_of("W winds 15 kt, becoming NW 20 kt. Gusts up to 30 kt in the evening.");
    assert_eq!(period.wind[0].gusts, None);
    assert_eq!(period.wind[1].gusts, Some(Gust { max_kt: 30, when: Some("in the evening".into()) }));
    // Without a wind to belong to they stay text.
    assert_eq!(period_of("Gusts up to 30 kt.").weather, ["Gusts up to 30 kt"]);
}

#[test]
fn seas_are_read_in_the_ways_offices_write_them() {
    let height = |surface, min, max, when: Option<&str>| Height {
        surface,
        height_ft: Range { min, max },
        when: when.map(str::to_owned),
    };
    let cases = [
        ("Seas 3 to 5 ft", vec![height(Surface::Seas, 3, 5, None)]),
        ("SEAS 10 TO 14 FT", vec![height(Surface::Seas, 10, 14, None)]),
        ("Seas around 4 ft", vec![height(Surface::Seas, 4, 4, None)]),
        ("Combined seas 7 to 9 feet", vec![height(Surface::Seas, 7, 9, None)]),
        ("Waves 2 ft or less", vec![height(Surface::Waves, 0, 2, None)]),
        ("Waves 1 foot or less", vec![height(Surface::Waves, 0, 1, None)]),
        ("Wind waves 3 ft", vec![height(Surface::WindWaves, 3, 3, None)]),
        (
            "Seas 3 to 5 ft, building to 5 to 8 ft late, then subsiding to 4 ft by daybreak",
            vec![
                height(Surface::Seas, 3, 5, None),
                height(Surface::Seas, 5, 8, Some("late")),
                height(Surface::Seas, 4, 4, Some("by daybreak")),
            ],
        ),
        (
            "Seas 6 ft, subsiding in the afternoon",
            vec![height(Surface::Seas, 6, 6, Some("in the afternoon"))],
        ),
        ("Waves nearly flat", vec![]),
    ];
    for (text, expected) in cases {
        assert_eq!(period_of(&format!("{text}.")).sea, expected, "{text}");
    }
}

#[test]
fn swell_is_read_with_and_without_its_heading() {
    let train = |from, feet, period_s| Swell { from, height_ft: Range { min: feet, max: feet }, period_s };
    let detail = "Wave Detail: SW 4 feet at 8 seconds and E 2 feet at 1 second.";
    assert_eq!(period_of(detail).swell, [train(SW, 4, 8), train(E, 2, 1)]);
    assert_eq!(period_of("NW swell 5 ft at 12 seconds.").swell, [train(NW, 5, 12)]);
    // Half understood is not understood.
    assert_eq!(period_of("Wave Detail: SW 4 feet and more.").weather, ["Wave Detail: SW 4 feet and more"]);
}

#[test]
fn the_lowest_visibility_counts() {
    let period = period_of("Areas of fog with vsby 1 to 3 NM. Vsby 1/4 NM or less late.");
    assert_eq!(period.visibility_nm, Some(Range { min: 0.0, max: 0.25 }));
    assert_eq!(period.weather, ["Areas of fog with vsby 1 to 3 NM"]);
}

#[test]
fn a_page_in_upper_case_says_the_same() {
    let mixed = page_of(
        "SW winds 10 to 15 kt, becoming W\nafter midnight. Seas 3 to\n5 ft. Rain until Wednesday, then\nclearing.",
    );
    assert_eq!(parse(mixed.to_uppercase().as_bytes()), parse(mixed.as_bytes()));
    let teletype = mixed.to_uppercase().replace(", ", "...");
    assert_eq!(parse(teletype.as_bytes()), parse(mixed.as_bytes()));
}

#[test]
fn line_ends_and_framing_of_other_systems_are_accepted() {
    let page = page_of("SW winds 10 kt.");
    let framed = format!("\u{1}\r\r\n{}\u{3}", page.replace('\n', "\r\n"));
    assert_eq!(parse(framed.as_bytes()), parse(page.as_bytes()));
}

#[test]
fn a_zone_line_may_name_many_zones_and_go_on() {
    let page = page_of("SW winds 10 kt.").replace(
        "ANZ230-250515-\nBoston Harbor-\n",
        "ANZ230>232-251-\nAMZ001-003-250515-\nBoston Harbor-\nCape Cod Bay-\n",
    );
    let forecast = parse(page.as_bytes()).unwrap();
    assert_eq!(forecast.zones, ["ANZ230", "ANZ231", "ANZ232", "ANZ251", "AMZ001", "AMZ003"]);
    assert_eq!(forecast.name, "Boston Harbor, Cape Cod Bay");
}

#[test]
fn a_synopsis_is_no_period() {
    let page = page_of("SW winds 10 kt.")
        .replace(".TONIGHT", ".SYNOPSIS FOR THE BAY...High pressure. It stays.\n.TONIGHT");
    let forecast = parse(page.as_bytes()).unwrap();
    assert_eq!(forecast.synopsis.as_deref(), Some("High pressure. It stays."));
    assert_eq!(forecast.periods.len(), 1);
}

#[test]
fn every_clock_is_understood() {
    let issued = |line: &str| {
        let page = page_of("SW winds 10 kt.").replace("415 PM EST Tue Nov 24 2026", line);
        parse(page.as_bytes()).map(|forecast| forecast.issued_at.to_string())
    };
    for (line, utc) in [
        ("1200 AM EST Tue Nov 24 2026", "2026-11-24T05:00:00Z"),
        ("1200 PM EST Tue Nov 24 2026", "2026-11-24T17:00:00Z"),
        ("415 PM EST /315 PM CST/ Tue Nov 24 2026", "2026-11-24T21:15:00Z"),
        ("1115 PM AKST Mon Nov 23 2026", "2026-11-24T08:15:00Z"),
        ("415 AM ChST Wed Nov 25 2026", "2026-11-24T18:15:00Z"),
        ("0315 AM HST Tue Nov 24 2026", "2026-11-24T13:15:00Z"),
    ] {
        assert_eq!(issued(line).as_deref(), Ok(utc), "{line}");
    }
    for (line, why) in [
        ("1360 PM EST Tue Nov 24 2026", "no such time of day"),
        ("460 PM EST Tue Nov 24 2026", "no such time of day"),
        ("415 PM XXT Tue Nov 24 2026", "unknown time zone"),
        ("415 PM EST Tue Nob 24 2026", "unknown month"),
        ("415 PM EST Tue Feb 30 2026", "no such day"),
        ("415 PM EST Nov 24 2026", "expected time, AM or PM, time zone, weekday, month, day, year"),
    ] {
        let error = issued(line).unwrap_err().to_string();
        assert_eq!(error, format!("line 5: bad issue time {line:?}: {why}"));
    }
}

#[test]
fn an_expiry_may_be_next_month() {
    let expires = |issue: &str, ddhhmm: &str| {
        let page =
            page_of("SW winds 10 kt.").replace("415 PM EST Tue Nov 24 2026", issue).replace("250515", ddhhmm);
        parse(page.as_bytes())
            .map(|forecast| forecast.expires_at.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(expires("900 PM EST Thu Dec 31 2026", "010800").as_deref(), Ok("2027-01-01T08:00:00Z"));
    assert_eq!(expires("900 PM EST Mon Nov 30 2026", "300800").as_deref(), Ok("2026-11-30T08:00:00Z"));
    assert_eq!(expires("900 PM EST Mon Nov 30 2026", "311200").as_deref(), Ok("2026-12-31T12:00:00Z"));
    let bad = r#"line 7: bad UGC line "ANZ230-990515-": no such expiry time"#;
    assert_eq!(expires("415 PM EST Tue Nov 24 2026", "990515"), Err(bad.to_owned()));
}

#[test]
fn hazards_are_told_apart() {
    let hazards = |headline: &str| {
        let page = page_of("SW winds 10 kt.").replace(".TONIGHT", &format!("...{headline}...\n\n.TONIGHT"));
        let forecast = parse(page.as_bytes()).unwrap();
        forecast
            .hazards
            .iter()
            .map(|h| format!("{:?} {:?}", h.phenomenon, h.significance))
            .collect::<Vec<_>>()
    };
    assert_eq!(hazards("TROPICAL STORM WARNING IN EFFECT"), ["TropicalStorm Warning"]);
    assert_eq!(hazards("Storm Watch now in effect"), ["Storm Watch"]);
    assert_eq!(hazards("HEAVY FREEZING SPRAY WARNING"), ["HeavyFreezingSpray Warning"]);
    assert_eq!(
        hazards("HURRICANE FORCE WIND WATCH...GALE WARNING"),
        ["HurricaneForceWind Watch", "Gale Warning"]
    );
    assert!(hazards("SMALL CRAFT SHOULD EXERCISE CAUTION").is_empty());
}

#[test]
fn bad_pages_say_what_is_wrong_and_where() {
    let good = page_of("SW winds 10 kt.\n.WED NIGHT...NW winds 20 kt.");
    let cases = [
        (String::new(), "empty page"),
        (" \n\n".to_owned(), "empty page"),
        ("\u{0}\u{1}".to_owned(), "not text: byte 0x00 at byte 0"),
        ("\n<!DOCTYPE html>\n<html>".to_owned(), "line 2: a web page, not a forecast"),
        (good.replace("ANZ230-250515-\n", ""), "no UGC line"),
        (
            good.replace("-250515-", "-"),
            r#"line 7: bad UGC line "ANZ230-Boston Harbor-415 PM EST Tue Nov 24 2026": no expiry time at its end"#,
        ),
        (good.replace("ANZ230-2", "ANZ230>x-2"), r#"line 7: bad UGC line "ANZ230>x-250515-": no such zones"#),
        (good.replace("Boston Harbor-\n", ""), "line 7: no zone name after the UGC line"),
        (good.replace("415 PM EST Tue Nov 24 2026\n", ""), "no issue time line"),
        (good.replace("$$", ""), "page ends within period \".WED NIGHT\" at line 12 (no \"$$\")"),
        (
            good.split(".TONIGHT").next().unwrap().to_owned(),
            "page ends at line 9 before the first period (no \"$$\")",
        ),
        (
            good.replace(".TONIGHT", "TONIGHT").replace(".WED", "WED"),
            "line 14: \"$$\" before the first period",
        ),
        (good.replace("NW winds 20 kt.", ""), "line 12: nothing in period \".WED NIGHT\""),
        (
            good.replace(".TONIGHT", "...GALE WARNING\n\n.TONIGHT"),
            "line 11: headline without its closing \"...\"",
        ),
    ];
    for (page, expected) in cases {
        assert_eq!(error_of(&page), expected, "{page}");
    }
    assert_eq!(error_of(&" ".repeat(200_000)), "page of 200000 bytes, too long for a forecast");
    let many = good.replace("ANZ230-", &"ANZ000>999-".repeat(9));
    assert!(error_of(&many).ends_with("no such zones"));
    let latin = [b"caf\xe9 ".as_slice(), good.as_bytes()].concat();
    assert_eq!(parse(&latin).unwrap_err().to_string(), "not text: broken UTF-8 at byte 3");
}

#[test]
fn a_page_cut_anywhere_is_an_error() {
    let good = page_of("SW winds 10 kt.\n.WED NIGHT...NW winds 20 kt.\nSeas 3 to 5 ft.");
    let end = good.find("$$").unwrap() + 2;
    for cut in 0..end {
        assert!(parse(&good.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(page in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&page);
    }

    #[test]
    fn no_text_in_a_page_makes_it_panic(text in "[ -~\n]{0,200}") {
        let _ = parse(page_of(&text).as_bytes());
    }

    #[test]
    fn no_words_of_the_trade_make_it_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "SW", "winds", "to", "10", "15", "kt", "becoming", "gusts", "up", "or", "less", "than", "seas", "ft",
                "then", "variable", "light", "and", "vsby", "1/4", "1/0", "nm", ".", "...", ",", "at", "seconds", "wave",
                "detail", "with", "around", "99999", "\n.", "\n...",
            ]),
            0..30,
        ),
    ) {
        let _ = parse(page_of(&words.join(" ")).as_bytes());
    }
}
