//! Lists and dicts of strings as Python's `repr` and JSON write them: nothing is executed, and
//! nothing is guessed.

/// The names of a list, or of a dict in the order of its ids, which must be 0, 1, 2 and so on.
pub(crate) fn names(text: &str) -> Option<Vec<String>> {
    let mut reader = Reader { rest: text };
    let names = match reader.next()? {
        '[' => reader.items(']', Reader::string)?,
        '(' => reader.items(')', Reader::string)?,
        '{' => {
            let mut items = reader.items('}', Reader::item)?;
            items.sort_by_key(|(id, _)| *id);
            // A gap or an id given twice would move every class behind it.
            let in_order = items.iter().enumerate().all(|(at, (id, _))| at == *id);
            in_order.then(|| items.into_iter().map(|(_, name)| name).collect())?
        }
        _ => return None,
    };
    reader.rest.trim().is_empty().then_some(names)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// The next character that is not blank.
    fn next(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.character()
    }

    fn character(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn accept(&mut self, wanted: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Items between commas, the last of which may have one, too, up to `end`.
    fn items<T>(&mut self, end: char, item: fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while !self.accept(end) {
            items.push(item(self)?);
            if !self.accept(',') {
                return self.accept(end).then_some(items);
            }
        }
        Some(items)
    }

    /// `0: 'name'` or, as JSON has it, `"0": "name"`.
    fn item(&mut self) -> Option<(usize, String)> {
        self.rest = self.rest.trim_start();
        let id = if self.rest.starts_with(['"', '\'']) {
            self.string()?.parse().ok()?
        } else {
            let digits = self.rest.find(|c: char| !c.is_ascii_digit())?;
            let (id, rest) = self.rest.split_at(digits);
            self.rest = rest;
            id.parse().ok()?
        };
        self.accept(':').then(|| self.string())?.map(|name| (id, name))
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.next().filter(|quote| matches!(quote, '"' | '\''))?;
        let mut text = String::new();
        loop {
            match self.character()? {
                '\\' => text.push(self.escaped()?),
                character if character == quote => return Some(text),
                character => text.push(character),
            }
        }
    }

    /// What follows a backslash; one that means nothing else stands for the character after it.
    fn escaped(&mut self) -> Option<char> {
        match self.character()? {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'x' => char::from_u32(self.hexadecimal(2)?),
            'U' => char::from_u32(self.hexadecimal(8)?),
            'u' => match self.hexadecimal(4)? {
                // JSON writes what lies beyond 16 bits as a pair of surrogates.
                high @ 0xd800..=0xdbff => {
                    self.rest = self.rest.strip_prefix("\\u")?;
                    let low = self.hexadecimal(4)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)
                }
                code => char::from_u32(code),
            },
            character => Some(character),
        }
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        number.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(number, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    /// Each written by Python's `repr`, `json.dumps` or by hand with a trailing comma.
    #[test]
    fn names_are_read_as_python_and_json_write_them() {
        let eyes = ["eye_open", "eye_closed"];
        for text in [
            "{0: 'eye_open', 1: 'eye_closed'}",
            "{0: 'eye_open', 1: 'eye_closed',}",
            "{1: 'eye_closed', 0: 'eye_open'}",
            r#"{"0": "eye_open", "1": "eye_closed"}"#,
            "['eye_open', 'eye_closed']",
            r#"["eye_open","eye_closed"]"#,
            "['eye_open', 'eye_closed', ]",
            "('eye_open', 'eye_closed')",
            r"{0: 'eye\x5fopen', 1: 'eye\u005fclosed'}",
            "{\n  0: 'eye_open',\n  1: 'eye_closed'\n}",
        ] {
            assert_eq!(names(text).as_deref(), Some(&eyes.map(str::to_owned)[..]), "{text}");
        }
        assert_eq!(
            names(r#"["a b", 'c, d: e', "it's", 'it\'s']"#).unwrap(),
            ["a b", "c, d: e", "it's", "it's"]
        );
        assert_eq!(names(r#"["\ud83d\ude00 \u00e9", 'a\tb']"#).unwrap(), ["\u{1f600} é", "a\tb"]);
        assert_eq!(names("{}").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn names_with_gaps_or_without_quotes_are_refused() {
        for text in [
            "{1: 'a'}",
            "{0: a}",
            "{0: 'a', 2: 'b'}",
            "{0: 'a', 0: 'b'}",
            "a, b",
            "",
            "['a'",
            "{0: 'a}",
            "[1, 2]",
            "['a' 'b']",
            "['a'] x",
            "[,]",
            r"['\x5']",
            r#"["\ud83d"]"#,
            "{0: 'a', 99999999999999999999: 'b'}",
        ] {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
