//! strftime as glibc has it in the C locale.

const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Days from 1970-01-01 to 1 January of the year.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - 719_162
}

struct Clock {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// From 0.
    yearday: i64,
    /// Sunday is 0.
    weekday: i64,
}

impl Clock {
    fn hour12(&self) -> i64 {
        (self.hour + 11) % 12 + 1
    }

    fn month_name(&self) -> &'static str {
        MONTHS[(self.month - 1).clamp(0, 11) as usize]
    }

    /// Year and week of ISO 8601.
    fn iso_week(&self) -> (i64, i64) {
        let monday = (self.weekday + 6) % 7;
        let week = (self.yearday - monday + 10) / 7;
        let weeks = |year: i64| {
            let jan1 = (days_before(year) + 4).rem_euclid(7);
            let leap = days_before(year + 1) - days_before(year) == 366;
            if jan1 == 4 || (jan1 == 3 && leap) { 53 } else { 52 }
        };
        match week {
            0 => (self.year - 1, weeks(self.year - 1)),
            53 if weeks(self.year) == 52 => (self.year + 1, 1),
            week => (self.year, week),
        }
    }

    fn seconds(&self) -> i64 {
        (days_before(self.year) + self.yearday) * 86_400 + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// A numeric directive: its value, width and usual padding.
    fn number(&self, directive: char) -> Option<(i64, usize, char)> {
        Some(match directive {
            'Y' => (self.year, 0, '0'),
            'C' => (self.year / 100, 2, '0'),
            'y' => (self.year % 100, 2, '0'),
            'G' => (self.iso_week().0, 0, '0'),
            'g' => (self.iso_week().0 % 100, 2, '0'),
            'V' => (self.iso_week().1, 2, '0'),
            'U' => ((self.yearday + 7 - self.weekday) / 7, 2, '0'),
            'W' => ((self.yearday + 7 - (self.weekday + 6) % 7) / 7, 2, '0'),
            'm' => (self.month, 2, '0'),
            'd' => (self.day, 2, '0'),
            'e' => (self.day, 2, ' '),
            'H' => (self.hour, 2, '0'),
            'I' => (self.hour12(), 2, '0'),
            'k' => (self.hour, 2, ' '),
            'l' => (self.hour12(), 2, ' '),
            'M' => (self.minute, 2, '0'),
            'S' => (self.second, 2, '0'),
            'j' => (self.yearday + 1, 3, '0'),
            'w' => (self.weekday, 0, '0'),
            'u' => ((self.weekday + 6) % 7 + 1, 0, '0'),
            's' => (self.seconds(), 0, '0'),
            _ => return None,
        })
    }

    fn text(&self, directive: char) -> Option<String> {
        let day_name = DAYS[self.weekday.clamp(0, 6) as usize];
        let (hour, minute, second) = (self.hour, self.minute, self.second);
        let half = if hour < 12 { "AM" } else { "PM" };
        let (year, month, day) = (self.year, self.month, self.day);
        let name = self.month_name();
        Some(match directive {
            'B' => name.into(),
            'b' | 'h' => name[..3].into(),
            'A' => day_name.into(),
            'a' => day_name[..3].into(),
            'p' => half.into(),
            'P' => half.to_lowercase(),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'T' | 'X' => format!("{hour:02}:{minute:02}:{second:02}"),
            'R' => format!("{hour:02}:{minute:02}"),
            'r' => format!("{:02}:{minute:02}:{second:02} {half}", self.hour12()),
            'D' | 'x' => format!("{month:02}/{day:02}/{:02}", year % 100),
            'c' => format!("{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}", &day_name[..3], &name[..3]),
            'n' => "\n".into(),
            't' => "\t".into(),
            '%' => "%".into(),
            _ => return None,
        })
    }
}

/// `clock`: year, month 1..12, day, hour, minute, second, day of the year 1..366. There is no time zone, and no part of
/// a second. An unknown directive is kept as it stands.
pub fn strftime(format: &str, clock: [i32; 7]) -> String {
    let [year, month, day, hour, minute, second, yearday] = clock.map(i64::from);
    let weekday = (days_before(year) + yearday - 1 + 4).rem_euclid(7);
    let clock = Clock { year, month, day, hour, minute, second, yearday: yearday - 1, weekday };
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = directive(&rest[1..], &clock, &mut out);
        if taken == 0 {
            out.push('%');
        }
        rest = &rest[1 + taken..];
    }
    out + rest
}

/// Appends what stands behind a `%`; 0 where it is no directive, else the bytes taken.
fn directive(text: &str, clock: &Clock, out: &mut String) -> usize {
    if text.starts_with('f') {
        out.push_str("000000");
        return 1;
    }
    if text.starts_with(['z', 'Z']) {
        return 1;
    }
    let flags = text.find(|c| !matches!(c, '_' | '-' | '0' | '^' | '#')).unwrap_or(text.len());
    let digits = text[flags..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - flags);
    let width: usize = text[flags..flags + digits].parse().unwrap_or(0);
    let modifier = usize::from(text[flags + digits..].starts_with(['E', 'O']));
    let Some(kind) = text[flags + digits + modifier..].chars().next() else { return 0 };
    let flag = text[..flags].chars().rev().find(|c| matches!(c, '_' | '-' | '0'));
    let (body, usual, fill) = match (clock.number(kind), clock.text(kind)) {
        (Some((value, usual, fill)), _) => (value.to_string(), usual, fill),
        (None, Some(text)) => (text, 0, ' '),
        (None, None) => return 0,
    };
    let body = match (text[..flags].contains('^'), text[..flags].contains('#'), kind) {
        (_, true, 'p') => body.to_lowercase(),
        (true, ..) | (_, true, 'a' | 'A' | 'b' | 'B' | 'h') => body.to_uppercase(),
        _ => body,
    };
    let fill = match flag {
        Some('_') => ' ',
        Some('0') => '0',
        _ => fill,
    };
    let width = if flag == Some('-') { 0 } else { width.min(1024).max(usual) };
    out.extend(std::iter::repeat_n(fill, width.saturating_sub(body.len())));
    out.push_str(&body);
    flags + digits + modifier + kind.len_utf8()
}
