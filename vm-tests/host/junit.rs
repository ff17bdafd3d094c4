//! A JUnit report of a run: unlike nextest's, it says why a test was skipped.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::store::{self, Part, Run};
use crate::record::{Finding, Verdict};

/// Writes `junit.xml` into a run's folder.
pub(super) fn write(run: &Path) -> io::Result<()> {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lab\">\n");
    for part in store::parts(run)? {
        suite(&part, &mut xml);
    }
    for (name, reason) in Run::read(run)?.missing {
        let _ = writeln!(
            xml,
            "<testsuite name=\"{0}\" tests=\"1\" skipped=\"1\"><testcase name=\"{0}::no_kernel\" classname=\"{0}\"><skipped message=\"{1}\"/></testcase></testsuite>",
            escaped(&name),
            escaped(&reason)
        );
    }
    xml += "</testsuites>\n";
    fs::write(run.join("junit.xml"), xml)
}

fn suite(part: &Part, xml: &mut String) {
    let about = &part.about;
    let suite = format!("{}::{}", about.kernel, about.filesystem);
    let count =
        |is: fn(&Verdict) -> bool| part.findings.iter().filter(|finding| is(&finding.verdict)).count();
    let _ = writeln!(
        xml,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{}\">",
        escaped(&suite),
        part.findings.len(),
        count(Verdict::is_failure),
        count(|verdict| matches!(verdict, Verdict::Skip { .. })),
        seconds(about.milliseconds),
    );
    let properties =
        [("kernel", about.kernel_version()), ("source", about.source.clone()), ("how", about.how.clone())];
    *xml += "<properties>";
    for (name, value) in properties {
        let _ = write!(xml, "<property name=\"{name}\" value=\"{}\"/>", escaped(&value));
    }
    *xml += "</properties>\n";
    for finding in &part.findings {
        case(&suite, finding, xml);
    }
    *xml += "</testsuite>\n";
}

fn case(suite: &str, finding: &Finding, xml: &mut String) {
    let _ = write!(
        xml,
        "<testcase name=\"{0}::{1}\" classname=\"{0}\" time=\"{2}\">",
        escaped(suite),
        escaped(&finding.fact),
        seconds(finding.milliseconds)
    );
    let _ = match &finding.verdict {
        Verdict::Pass { saw } => write!(xml, "<system-out>{}</system-out>", escaped(saw)),
        Verdict::Skip { reason } => write!(xml, "<skipped message=\"{}\"/>", escaped(reason)),
        Verdict::NoResult { reason } => {
            write!(xml, "<failure type=\"no result\" message=\"{}\"/>", escaped(reason))
        }
        Verdict::Fail { saw, expected } => write!(
            xml,
            "<failure type=\"fail\" message=\"saw {}, expected {}\">{}</failure>",
            escaped(saw),
            escaped(expected),
            escaped(&finding.log.join("\n"))
        ),
    };
    *xml += "</testcase>\n";
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// XML 1.0 has no way at all to say most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}
