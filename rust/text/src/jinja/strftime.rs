//! strftime in the C locale.

const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// strftime in the C locale. `clock`: year, month 1..12, day, hour, minute, second, day of the year 1..366.
/// `%-X` drops the padding. An unknown directive is kept as it stands, as glibc does.
pub fn strftime(format: &str, clock: [i32; 7]) -> String {
    let [year, month, day, hour, minute, second, yearday] = clock;
    let jan1 = (year + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400) % 7; // weekday of 1 January, Sunday 0
    let weekday = (jan1 + yearday - 1).rem_euclid(7);
    let month_name = MONTHS[(month - 1).clamp(0, 11) as usize];
    let day_name = DAYS[weekday as usize];
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next().unwrap_or('%');
        let unpadded = directive == '-';
        if unpadded {
            directive = chars.next().unwrap_or('-');
        }
        let number = |value: i32, width: usize| if unpadded { format!("{value}") } else { format!("{value:0width$}") };
        out += &match directive {
            'Y' => format!("{year}"),
            'y' => number(year % 100, 2),
            'm' => number(month, 2),
            'd' => number(day, 2),
            'e' => if unpadded { format!("{day}") } else { format!("{day:2}") },
            'H' => number(hour, 2),
            'I' => number(hour12, 2),
            'M' => number(minute, 2),
            'S' => number(second, 2),
            'j' => number(yearday, 3),
            'w' => format!("{weekday}"),
            'u' => format!("{}", if weekday == 0 { 7 } else { weekday }),
            'B' => month_name.to_string(),
            'b' | 'h' => month_name[..3].to_string(),
            'A' => day_name.to_string(),
            'a' => day_name[..3].to_string(),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_string(),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'T' | 'X' => format!("{hour:02}:{minute:02}:{second:02}"),
            'R' => format!("{hour:02}:{minute:02}"),
            'D' | 'x' => format!("{month:02}/{day:02}/{:02}", year % 100),
            'c' => format!("{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}", &day_name[..3], &month_name[..3]),
            'n' => "\n".into(),
            't' => "\t".into(),
            '%' => "%".into(),
            other => if unpadded { format!("%-{other}") } else { format!("%{other}") },
        };
    }
    out
}
