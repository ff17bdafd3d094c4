//! Users and groups as an image's /etc/passwd and /etc/group have them: a stranger's data. Parsers take text.
//!
//! What a name means is what Docker takes it for (moby/sys/user, GetExecUser).

/// The longest of either file that is read, in bytes.
pub const LONGEST: u64 = 1 << 20;

/// The largest number of a user or group.
const MOST: u32 = i32::MAX as u32;

/// Who runs something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// The numbers of other groups.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: Vec<u8>,
}

/// Why there is no such account.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No user has the name.
    #[error("there is no user '{}' in its /etc/passwd", .0.escape_debug())]
    User(String),
    /// No group has the name.
    #[error("there is no group '{}' in its /etc/group", .0.escape_debug())]
    Group(String),
    /// It is a number, and too large.
    #[error("{0} is more than the largest user or group, {MOST}")]
    TooLarge(String),
}

/// Finds the account that `USER[:GROUP]` means, each a name or a number; root where nothing is said. A number needs no entry.
pub fn find(asked: &str, passwd: &[u8], group: &[u8]) -> Result<Account, Unknown> {
    let (user, in_group) = asked.split_once(':').unwrap_or((asked, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user)?;
    let entry = entries(passwd, 7).find(|fields| match number {
        Some(number) => parsed(fields[2]) == Some(number),
        None => fields[0] == user.as_bytes(),
    });
    let mut account = match (&entry, number) {
        (Some(fields), _) => Account {
            user: parsed(fields[2]).ok_or_else(|| Unknown::User(user.to_owned()))?,
            group: parsed(fields[3]).unwrap_or(0),
            groups: Vec::new(),
            home: fields[5].to_owned(),
        },
        (None, Some(number)) => Account { user: number, group: 0, groups: Vec::new(), home: b"/".to_vec() },
        (None, None) => return Err(Unknown::User(user.to_owned())),
    };
    if !in_group.is_empty() {
        account.group = group_of(in_group, group)?;
    } else if let Some(fields) = entry {
        let member = |list: &[u8]| list.split(|&b| b == b',').any(|name| name == fields[0]);
        account.groups =
            entries(group, 4).filter(|of| member(of[3])).filter_map(|of| parsed(of[2])).collect();
    }
    Ok(account)
}

fn group_of(asked: &str, group: &[u8]) -> Result<u32, Unknown> {
    if let Some(number) = number(asked)? {
        return Ok(number);
    }
    let found = entries(group, 4).find(|fields| fields[0] == asked.as_bytes());
    found.and_then(|fields| parsed(fields[2])).ok_or_else(|| Unknown::Group(asked.to_owned()))
}

/// Reads a number that was asked for; `None` where it is a name.
fn number(text: &str) -> Result<Option<u32>, Unknown> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    parsed(text.as_bytes()).map(Some).ok_or_else(|| Unknown::TooLarge(text.to_owned()))
}

fn parsed(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok().filter(|number| *number <= MOST)
}

/// Splits lines into so many fields; a line that has fewer is none.
fn entries(text: &[u8], count: usize) -> impl Iterator<Item = Vec<&[u8]>> {
    let fields = |line| <[u8]>::split(line, |&b| b == b':').collect::<Vec<_>>();
    text.split(|&b| b == b'\n').map(fields).filter(move |fields| fields.len() >= count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\nbroken:x:1\nwww:x:33:34::/var/www:/bin/sh\n\
        7:x:8:8::/:\nhuge:x:99999999999:1::/:\nbad\xff:x:5:5::/bad\xff:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nwww:x:34:\ntty:x:5:www,root\nadm:x:4:www\nodd:x:x:www\nshort:x:9\n";

    fn found(asked: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        let home = |account: &Account| String::from_utf8_lossy(&account.home).into_owned();
        let all = |account: Account| (account.user, account.group, account.groups.clone(), home(&account));
        find(asked, PASSWD, GROUP).map(all).map_err(|e| e.to_string())
    }

    #[test]
    fn an_account_is_what_docker_takes_it_for() {
        for (asked, user, group, groups, home) in [
            ("", 0, 0, vec![5], "/root"),
            ("www", 33, 34, vec![5, 4], "/var/www"),
            ("33", 33, 34, vec![5, 4], "/var/www"),
            ("www:tty", 33, 5, vec![], "/var/www"),
            ("www:1000", 33, 1000, vec![], "/var/www"),
            (":adm", 0, 4, vec![], "/root"),
            ("1000", 1000, 0, vec![], "/"),
            ("1000:1001", 1000, 1001, vec![], "/"),
            ("7", 7, 0, vec![], "/"), // a number is never a name
        ] {
            assert_eq!(found(asked), Ok((user, group, groups, home.to_owned())), "{asked}");
        }
    }

    #[test]
    fn who_is_not_there_is_named() {
        for (asked, said) in [
            ("nobody", "there is no user 'nobody' in its /etc/passwd"),
            ("broken", "there is no user 'broken' in its /etc/passwd"),
            ("huge", "there is no user 'huge' in its /etc/passwd"),
            ("a\x1b[m", "there is no user 'a\\u{1b}[m' in its /etc/passwd"),
            ("www:nogroup", "there is no group 'nogroup' in its /etc/group"),
            ("www:short", "there is no group 'short' in its /etc/group"),
            ("4294967295", "4294967295 is more than the largest user or group, 2147483647"),
            ("0:99999999999", "99999999999 is more than the largest user or group, 2147483647"),
        ] {
            assert_eq!(found(asked), Err(said.to_owned()), "{asked}");
        }
    }

    #[test]
    fn files_of_anything_are_read() {
        for text in [&b""[..], b":::::::::", b"\n\n\n", b"\xff\xfe", b"root:x:0:0:::", b"root::0:0:a:b:c:d:e"]
        {
            assert_eq!(find("0", text, text).unwrap().user, 0);
        }
    }
}
