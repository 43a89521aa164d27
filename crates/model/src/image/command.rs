//! What is started in an image: as `docker run` has it. No shell is needed, and none is asked.

use super::RunConfig;

/// The words of a command line, taken apart at spaces. Quotes keep them together, a backslash keeps what follows as it
/// is; nothing is expanded. `None`: a quote has no end.
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some('"'), '\\') => {
                let next = letters.next()?;
                let text = word.get_or_insert_default();
                if !matches!(next, '"' | '\\' | '$' | '`') {
                    text.push('\\');
                }
                text.push(next);
            }
            (Some(_), letter) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().push(letters.next()?),
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (None, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The program and its arguments: the image's entry point, then the words of `line` instead of those that the image has
/// for it. The error says why there is nothing to start.
pub fn argv(config: &RunConfig, line: &str) -> Result<Vec<String>, String> {
    let own = words(line).ok_or_else(|| format!("the command has a quote without an end: {line}"))?;
    let arguments = if own.is_empty() { config.cmd.clone() } else { own };
    let argv: Vec<_> = config.entrypoint.iter().cloned().chain(arguments).collect();
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err("the image says nothing to run, and neither does the package: give it a command".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_as_a_shell_would_without_expanding_it() {
        for (line, expected) in [
            ("", Some(vec![])),
            ("  a  b\tc ", Some(vec!["a", "b", "c"])),
            (r#"sh -c 'echo "$HOME" | cat'"#, Some(vec!["sh", "-c", r#"echo "$HOME" | cat"#])),
            (r#"a "b \"c\" \n" d\ e '' """#, Some(vec!["a", r#"b "c" \n"#, "d e", "", ""])),
            ("a 'b", None),
            ("a \\", None),
        ] {
            let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_command_takes_the_place_of_the_images_own_and_leaves_its_entry_point() {
        let texts = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let config = |entrypoint: &[&str], cmd: &[&str]| RunConfig {
            entrypoint: texts(entrypoint),
            cmd: texts(cmd),
            ..RunConfig::default()
        };
        assert_eq!(argv(&config(&["run"], &["a"]), ""), Ok(texts(&["run", "a"])));
        assert_eq!(argv(&config(&["run"], &["a"]), "b c"), Ok(texts(&["run", "b", "c"])));
        assert_eq!(argv(&config(&[], &["a"]), "b"), Ok(texts(&["b"])));
        assert!(argv(&config(&[], &[]), " ").unwrap_err().contains("says nothing to run"));
        assert!(argv(&config(&[""], &[]), "'").is_err());
    }
}
