//! Reads class names from the metadata, and finds those that mean open and closed eyes.

use crate::{ImportError, literal};

/// Names for open eyes that need no configuration, after [`normal`].
const OPEN_SYNONYMS: [&str; 8] =
    ["eye_open", "eyes_open", "open_eye", "open_eyes", "open", "opened", "eye_opened", "eyes_opened"];
/// Names for closed eyes that need no configuration, after [`normal`].
const CLOSED_SYNONYMS: [&str; 8] =
    ["eye_closed", "eyes_closed", "closed_eye", "closed_eyes", "closed", "close", "eye_close", "eyes_close"];

/// Characters of unreadable metadata that are quoted in a message.
const LONGEST_QUOTE: usize = 80;

/// How many of a model's names a message lists; COCO's 80 would hide the advice.
const NAMES_IN_MESSAGES: usize = 12;

/// Class ids that mean an open and a closed eye; neither is empty, and they share none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateClasses {
    /// Ids that mean open.
    pub open: Vec<usize>,
    /// Ids that mean closed.
    pub closed: Vec<usize>,
}

/// Finds both states among `names`. Configured names must match exactly; without them, the first
/// matching synonyms are used.
pub(crate) fn find_states(
    names: &[String],
    open: Option<&[String]>,
    closed: Option<&[String]>,
) -> Result<StateClasses, ImportError> {
    let given = [open, closed];
    let open = find_state(names, "OPEN_CLASSES", open, &OPEN_SYNONYMS)?;
    let closed = find_state(names, "CLOSED_CLASSES", closed, &CLOSED_SYNONYMS)?;
    for (ids, others, given, state, variable) in [
        (&open, &closed, given[0], "open", "OPEN_CLASSES"),
        (&closed, &open, given[1], "closed", "CLOSED_CLASSES"),
    ] {
        if ids.is_empty() && given.is_none() {
            // Classes of the other state are excluded: only the rest is suggested.
            let example = (0..names.len()).find(|id| !others.contains(id)).map(|id| names[id].clone());
            let names = listed(names);
            return Err(match example {
                Some(example) => ImportError::StateMissing { state, variable, names, example },
                None => ImportError::OneState { state, names },
            });
        }
    }
    match open.iter().find(|id| closed.contains(id)) {
        Some(&id) => Err(ImportError::ClassInBoth { name: names[id].clone() }),
        None => Ok(StateClasses { open, closed }),
    }
}

fn find_state(
    names: &[String],
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
    // Left and right eyes may have classes of their own, so all synonyms are accepted.
    Ok((0..names.len()).filter(|&id| synonyms.contains(&normal(&names[id]).as_str())).collect())
}

/// Lower case, words joined by underscores, without left and right: `Left Eye-Open` is `eye_open`.
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

/// The exporter's `names`: a Python dict with ids as keys (v6.1 and later), a list of strings
/// (v6.0), or either as JSON.
pub(crate) fn parse_names(text: &str) -> Result<Vec<String>, ImportError> {
    let unreadable = || ImportError::NamesUnreadable { text: text.chars().take(LONGEST_QUOTE).collect() };
    literal::names(text).ok_or_else(unreadable)
}

/// The exporter's `stride`: the largest of one number or of a list.
pub(crate) fn parse_stride(text: &str) -> Option<usize> {
    let numbers = text.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']);
    let numbers = numbers.split(',').map(str::trim).filter(|number| !number.is_empty());
    let numbers = numbers.map(|number| number.parse::<f64>().ok().filter(|number| number.fract() == 0.0));
    let largest = numbers.collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max)?;
    (1.0..=f64::from(u16::MAX)).contains(&largest).then_some(largest as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn unreadable_names_are_quoted_in_part() {
        let error = parse_names(&"x".repeat(1000)).unwrap_err();
        assert!(matches!(&error, ImportError::NamesUnreadable { text } if text.len() == LONGEST_QUOTE));
    }

    #[test]
    fn the_largest_stride_is_read_from_a_number_or_a_list() {
        for text in ["32", "32.0", "[8, 16, 32]", "(8, 16, 32,)", " [32] "] {
            assert_eq!(parse_stride(text), Some(32), "{text}");
        }
        for text in ["", "[]", "x", "[8, x]", "-32", "1e9", "0"] {
            assert_eq!(parse_stride(text), None, "{text}");
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
        assert!(error.contains("closed eyes") && error.contains(r#"CLOSED_CLASSES="bicycle""#), "{error}");
    }

    #[test]
    fn with_one_state_only_nothing_that_fails_is_suggested() {
        for all in [names(&["closed"]), names(&["left_closed", "right_closed"])] {
            let error = find_states(&all, None, None).unwrap_err();
            assert!(matches!(error, ImportError::OneState { state: "open", .. }), "{error}");
        }
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
