//! Class names out of the metadata, and which of them mean open and closed eyes.

use crate::ImportError;

/// Names for open eyes that need no configuration, after [`normal`].
const OPEN_SYNONYMS: [&str; 8] =
    ["eye_open", "eyes_open", "open_eye", "open_eyes", "open", "opened", "eye_opened", "eyes_opened"];
/// Names for closed eyes that need no configuration, after [`normal`].
const CLOSED_SYNONYMS: [&str; 8] =
    ["eye_closed", "eyes_closed", "closed_eye", "closed_eyes", "closed", "close", "eye_close", "eyes_close"];

/// How many of a model's names a message lists; COCO's 80 would hide what to do.
const NAMES_IN_MESSAGES: usize = 12;

/// Class ids that mean an open and a closed eye; neither is empty, and they share none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateClasses {
    /// Ids that mean open.
    pub open: Vec<usize>,
    /// Ids that mean closed.
    pub closed: Vec<usize>,
}

/// Finds both states among `names`. What the caller configured must be there, to the letter; otherwise
/// the first synonyms that fit are taken.
pub(crate) fn find_states(
    names: &[String],
    open: Option<&[String]>,
    closed: Option<&[String]>,
) -> Result<StateClasses, ImportError> {
    let open = find_state(names, "open", "OPEN_CLASSES", open, &OPEN_SYNONYMS)?;
    let closed = find_state(names, "closed", "CLOSED_CLASSES", closed, &CLOSED_SYNONYMS)?;
    match open.iter().find(|id| closed.contains(id)) {
        Some(&id) => Err(ImportError::ClassInBoth { name: names[id].clone() }),
        None => Ok(StateClasses { open, closed }),
    }
}

fn find_state(
    names: &[String],
    state: &'static str,
    variable: &'static str,
    configured: Option<&[String]>,
    synonyms: &[&str],
) -> Result<Vec<usize>, ImportError> {
    if let Some(configured) = configured {
        let find = |name: &String| {
            let id = names.iter().position(|known| known == name);
            id.ok_or_else(|| ImportError::UnknownClass { variable, name: name.clone(), names: listed(names) })
        };
        return configured.iter().map(find).collect();
    }
    // Left and right eyes may have classes of their own: all that are synonyms count.
    let found: Vec<usize> =
        (0..names.len()).filter(|&id| synonyms.contains(&normal(&names[id]).as_str())).collect();
    if found.is_empty() {
        let example = names.first().cloned().unwrap_or_default();
        return Err(ImportError::StateMissing { state, variable, names: listed(names), example });
    }
    Ok(found)
}

/// Lower case, words joined by underscores, sides left out: `Left Eye-Open` is `eye_open`.
fn normal(name: &str) -> String {
    let lower = name.trim().to_lowercase();
    let words =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !matches!(*word, "" | "left" | "right"));
    words.collect::<Vec<_>>().join("_")
}

fn listed(names: &[String]) -> String {
    let shown =
        names.iter().take(NAMES_IN_MESSAGES).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMES_IN_MESSAGES) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Reads the exporter's `names`: a Python dict with ids as keys (v6.1 and later) or a list of strings.
pub(crate) fn parse_names(text: &str) -> Result<Vec<String>, ImportError> {
    let unreadable = || ImportError::NamesUnreadable { text: text.to_owned() };
    let text_of =
        |open: char, close: char| text.trim().strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(mut rest) = text_of('[', ']') {
        let mut names = Vec::new();
        while let Some(name) = next_string(&mut rest).ok_or_else(unreadable)? {
            names.push(name);
        }
        return Ok(names);
    }
    let mut rest = text_of('{', '}').ok_or_else(unreadable)?;
    let mut names = Vec::new();
    while let Some((id, after)) = rest.split_once(':') {
        let id: usize = id.trim_matches([' ', ',']).parse().map_err(|_| unreadable())?;
        // YOLOv5 writes the ids in order; a gap would move every class behind it.
        if id != names.len() {
            return Err(unreadable());
        }
        rest = after;
        names.push(next_string(&mut rest).flatten().ok_or_else(unreadable)?);
    }
    if rest.trim().is_empty() { Ok(names) } else { Err(unreadable()) }
}

/// Takes one Python string literal off `rest`: `Some(None)` at the end, `None` where there is something else.
fn next_string(rest: &mut &str) -> Option<Option<String>> {
    let trimmed = rest.trim_start_matches([' ', ',', '\n']);
    let Some(quote) = trimmed.chars().next() else {
        *rest = trimmed;
        return Some(None);
    };
    if !matches!(quote, '\'' | '"') {
        return None;
    }
    let mut name = String::new();
    let mut characters = trimmed[1..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            _ if character == quote => {
                *rest = &trimmed[at + 2..];
                return Some(Some(name));
            }
            _ => name.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_are_read_from_a_python_dict_and_from_a_list() {
        assert_eq!(parse_names("{0: 'eye_open', 1: 'eye_closed'}").unwrap(), ["eye_open", "eye_closed"]);
        assert_eq!(parse_names(r#"["a b", 'c, d: e', "it's"]"#).unwrap(), ["a b", "c, d: e", "it's"]);
        assert_eq!(parse_names(r"{0: 'it\'s'}").unwrap(), ["it's"]);
        assert_eq!(parse_names("{}").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn names_with_gaps_or_without_quotes_are_refused() {
        for text in ["{1: 'a'}", "{0: a}", "{0: 'a', 2: 'b'}", "a, b", "", "['a'", "{0: 'a}", "[1, 2]"] {
            assert!(matches!(parse_names(text), Err(ImportError::NamesUnreadable { .. })), "{text}");
        }
    }

    #[test]
    fn usual_spellings_need_no_configuration() {
        for (open, closed) in [("eye_open", "eye_closed"), ("Open Eyes", "Closed-Eyes"), ("open", "closed")] {
            let states = find_states(&names(&["face", closed, open]), None, None).unwrap();
            assert_eq!(states, StateClasses { open: vec![2], closed: vec![1] });
        }
        let sides = names(&["left_eye_open", "right_eye_open", "left_eye_closed", "right_eye_closed"]);
        assert_eq!(
            find_states(&sides, None, None).unwrap(),
            StateClasses { open: vec![0, 1], closed: vec![2, 3] }
        );
    }

    #[test]
    fn configured_names_win_over_synonyms() {
        let all = names(&["open", "awake", "asleep"]);
        let states = find_states(&all, Some(&names(&["awake"])), Some(&names(&["asleep"]))).unwrap();
        assert_eq!(states, StateClasses { open: vec![1], closed: vec![2] });
    }

    #[test]
    fn a_missing_state_lists_the_names_and_says_what_to_set() {
        let error = find_states(&names(&["person", "bicycle"]), None, None).unwrap_err().to_string();
        assert!(error.contains(r#""person", "bicycle""#) && error.contains("OPEN_CLASSES"), "{error}");
        let error = find_states(&names(&["open", "bicycle"]), None, None).unwrap_err().to_string();
        assert!(error.contains("closed eyes") && error.contains("CLOSED_CLASSES"), "{error}");
    }

    #[test]
    fn a_class_cannot_be_unknown_or_both() {
        let all = names(&["open", "closed"]);
        let error = find_states(&all, Some(&names(&["opne"])), None).unwrap_err();
        assert!(matches!(error, ImportError::UnknownClass { variable: "OPEN_CLASSES", .. }));
        let error = find_states(&all, Some(&names(&["closed"])), None).unwrap_err();
        assert!(matches!(error, ImportError::ClassInBoth { .. }));
    }
}
