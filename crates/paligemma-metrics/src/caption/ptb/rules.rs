//! What a token is.

/// How much of what a rule matches is the token; the rest is looked at again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// All of it.
    Whole,
    /// These first characters.
    First(usize),
    /// All but these last characters.
    Before(usize),
}

impl Cut {
    pub(super) fn of(self, matched: &str) -> &str {
        let at =
            |place: usize| matched.char_indices().nth(place).map_or(matched.len(), |(at, _)| at);
        match self {
            Self::Whole => matched,
            Self::First(count) => &matched[..at(count)],
            Self::Before(count) => &matched[..at(matched.chars().count().saturating_sub(count))],
        }
    }
}

/// Parts of rules by the names that stand for them; a part may name those before it.
const PARTS: &[(&str, &str)] = &[
    // Characters beyond the basic plane are unknown to the tokenizer.
    (
        "<letter>",
        r"[[\p{L}--[\x{10000}-\x{10FFFF}]][\p{M}&&[\x{300}-\x{ECD}]]\x{AD}\x{55A}-\x{55F}\x{2C2}-\x{385}]",
    ),
    ("<digit>", r"[\p{Nd}--[\x{10000}-\x{10FFFF}]]"),
    ("<alnum>", r"(?:<letter>|<digit>)"),
    ("<hyphen>", r"[-\x{58A}\x{2010}\x{2011}]"),
    ("<apos>", r"['\x{92}\x{2019}]"),
    ("<not>", r"[`'\x{92}\x{2018}\x{2019}]"),
    ("<word>", r"<letter><alnum>*(?:[.!?]<letter><alnum>*)*"),
    ("<elision>", r"(?:[dDoOlL]<apos>)?"),
    ("<thing>", r"<elision><alnum>+(?:\.?<hyphen><elision><alnum>+|_<alnum>+)*"),
    ("<plain>", r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"),
    ("<number>", r"[-+]?(?:<digit>+|<digit>*(?:[.:,]<digit>+)+)"),
    ("<acronym>", r"[A-Za-z](?:\.[A-Za-z])+"),
    (
        "<abbreviation>",
        r"(?i:adj|adm|adv|al|ala|alex|apr|ariz|assn|attys|aug|ave|bancorp|bhd|bldg|blvd|brig|bros|calif|cf|cie|cmdr|co|col|colo|comdr|conn|corp|cos|cpl|ct|dak|dec|dept|det|dr|drs|ens|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|gov|govs|hon|inc|ind|intl|jan|jos|jr|jul|jun|kan|kans|ky|lieut|lt|ltd|maj|mar|md|messrs|mfg|mich|minn|mme|mo|mon|mont|mr|mrs|ms|mt|mtg|neb|nev|nov|oct|okla|pfc|ph|plc|prof|pte|ptes|pty|ptys|pvt|rd|rep|reps|rev|rt|sen|sens|sep|sept|seq|sfc|sgt|spc|sq|sr|st|ste|supt|supts|sys|tel|tenn|thu|thurs|treas|tue|tues|univ|va|vs|vt|wed|wis|wm|wyo|(?:ed|ph)\.d)|Ark|Az|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash",
    ),
    ("<numbered>", r"(?i:nos?|figs?|pp|prop|art|ca|op)"),
    ("<host>", r#"(?:[^\s"`'<>|.!?(){},_$-]+\.)+"#),
    ("<path>", r#"(?:/[^\s"<>|()]+[^\s"<>|.!?(){},-])?"#),
];

/// The rules, the first first.
const RULES: &[(&str, Cut)] = &[
    // Markup.
    (
        r#"</?[A-Za-z][A-Za-z0-9:._-]*(?: +[A-Za-z][A-Za-z0-9:._-]*(?:=(?:"[^"\n]*"|'[^'\n]*'))?)* ?/?>"#,
        Cut::Whole,
    ),
    (r"<[!?][^>\n]*>", Cut::Whole),
    // Words in two.
    (r"(?i:cannot|gonna|gotta|lemme|gimme|wanna)", Cut::First(3)),
    (r"'(?i:tis|twas)", Cut::First(2)),
    (r"<apos>(?i:[msd]|re|ve|ll)[^A-Za-z]", Cut::Before(1)),
    (r"(?i:n<not>t)[^A-Za-z]", Cut::Before(1)),
    (r"<word><apos>(?i:[msd])", Cut::Before(2)),
    (r"<word><apos>(?i:re|ve|ll)", Cut::Before(3)),
    (r"[A-Za-z]*[A-MO-Za-mo-z](?i:n<not>t)", Cut::Before(3)),
    // Words with an apostrophe.
    (r"<apos>n<apos>?", Cut::Whole),
    (r"[lLdDjJ]<apos>", Cut::Whole),
    (r"[yY]<apos><letter>", Cut::Before(1)),
    (r"(?:[dD]unkin|somethin|ol)<apos>", Cut::Whole),
    (r"<apos>(?i:em|till?|cause|[2-9]0s)", Cut::Whole),
    (r"<apos>[0-9]{2}[ \t\n\x{A0}]", Cut::Before(1)),
    (r"[A-HJ-XZn]<apos><letter>{2,}", Cut::Whole),
    (r"<letter>+[aeiouyAEIOUY]<apos>[aeiouA-Z]<letter>*", Cut::Whole),
    (
        r"(?i:li<apos>l|nat<apos>l|c<apos>mon|ev<apos>ry|nor<apos>easter|o<apos>clock|s<apos>mores|c<apos>est|ma<apos>am|e<apos>er)",
        Cut::Whole,
    ),
    // A quotation mark before a word, where it would be an elision of fewer letters.
    (r"<apos>[A-Za-z][^\s]", Cut::First(1)),
    // Addresses and names of networks.
    (r#"https?://[^\s"<>|(){}]+[^\s"<>|.!?(){},-]"#, Cut::Whole),
    (r#"www\.(?:[^\s"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}<path>"#, Cut::Whole),
    (r"<host>(?:com|net|org|edu)<path>", Cut::Whole),
    (r#"<?[A-Za-z0-9][^\s"<>|(){}]*@(?:[^\s"<>|(){}.]+\.)*[^\s"<>|(){}\[\].]+>?"#, Cut::Whole),
    (r"@[A-Za-z_][A-Za-z_0-9]*", Cut::Whole),
    (r"#<letter><alnum>*", Cut::Whole),
    // Abbreviations.
    (r"(?:[A-Za-z]|<acronym>|<abbreviation>|[A-Za-z]+-U\.S)\.", Cut::Whole),
    (r"<numbered>\.<digit>", Cut::Before(1)),
    (r"<numbered>\.[ \t\x{A0}]<digit>", Cut::Before(2)),
    (r"<acronym>\.?(?:<hyphen><alnum>+)+", Cut::Whole),
    (r"[A-Z]+(?:(?:&|&amp;)[A-Z]+)+", Cut::Whole),
    (r"[A-Z]+\$", Cut::Whole),
    (r"[cC]\+\+|[cCfF]#", Cut::Whole),
    // Words and numbers.
    (r"<word>", Cut::Whole),
    (r"<plain>(?:/<plain>){1,2}", Cut::Whole),
    (r"<thing>", Cut::Whole),
    (r"(?i:anti|pro)-", Cut::Whole),
    (r"<digit>+\.x[^A-Za-z0-9]", Cut::Before(1)),
    (r"<number>", Cut::Whole),
    (r"<digit>+(?:[.,]<digit>+)*(?:<hyphen><alnum>+)+", Cut::Whole),
    (r"<digit>{1,4}[- ]<digit>{1,4}[/\x{2044}]<digit>{1,4}", Cut::Whole),
    (r"<digit>{1,4}[/\x{2044}]<digit>{1,4}", Cut::Whole),
    (r"\([0-9]{2,3}\)[ \x{A0}]?[0-9]{3,4}[- \x{A0}]?[0-9]{3,5}", Cut::Whole),
    // Faces.
    (r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]][^A-Za-z0-9]", Cut::Before(1)),
    (r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)", Cut::Whole),
    // Signs.
    (r"(?i:&(?:amp|lt|gt|quot|apos|nbsp|mdash);)|&#[0-9]+;", Cut::Whole),
    (r"''|``|[?!]+|\*+|_+|#+|@+|-{5,}|-{2,4}|<<|>>|\.{3,5}", Cut::Whole),
    (r"[\x{B2}\x{B3}\x{B9}\x{2070}\x{2074}-\x{207E}]+|[\x{2080}-\x{208E}]+", Cut::Whole),
    (r"[\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E]", Cut::Whole),
    (r"[\x{80}\x{A1}-\x{AC}\x{AE}-\x{B9}\x{BB}-\x{BF}\x{D7}\x{F7}\x{37E}\x{387}]", Cut::Whole),
    (
        r"[\x{589}\x{5BE}\x{5C0}\x{5C3}\x{5C6}\x{5F3}-\x{603}\x{606}-\x{60C}\x{614}\x{61B}\x{61E}\x{61F}\x{66A}\x{66D}\x{6D4}\x{700}-\x{70D}\x{7F6}-\x{7F8}]",
        Cut::Whole,
    ),
    (
        r"[\x{964}\x{965}\x{E3F}\x{E4F}\x{1FBD}\x{2016}\x{2017}\x{201A}\x{201E}-\x{2023}\x{2030}-\x{2038}\x{203B}\x{203E}-\x{2042}\x{2044}]",
        Cut::Whole,
    ),
    (
        r"[\x{20A0}\x{20A4}\x{20AC}\x{2100}-\x{2101}\x{2103}-\x{2106}\x{2108}\x{2109}\x{2114}\x{2116}-\x{2118}\x{211E}-\x{2123}\x{2125}\x{2127}\x{2129}\x{212E}]",
        Cut::Whole,
    ),
    (
        r"[\x{213A}\x{213B}\x{2140}-\x{2144}\x{214A}-\x{214D}\x{214F}\x{2153}-\x{215E}\x{2190}-\x{2BFF}]",
        Cut::Whole,
    ),
    (
        r"[\x{3001}\x{3002}\x{3012}\x{30FB}\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF20}\x{FF3B}-\x{FF40}\x{FF5B}-\x{FF65}\x{FFE0}\x{FFE1}\x{FFE5}\x{FFE6}]",
        Cut::Whole,
    ),
];

/// The rules with the names of parts replaced by the parts.
pub(super) fn rules() -> Vec<(String, Cut)> {
    let whole = |rule: &str| {
        PARTS
            .iter()
            .rev()
            .fold(rule.to_owned(), |rule, (name, part)| rule.replace(name, &format!("(?:{part})")))
    };
    RULES.iter().map(|(rule, cut)| (whole(rule), *cut)).collect()
}
