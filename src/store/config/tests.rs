use serde_json::Value;

use super::*;

fn ids(count: u8) -> Vec<Digest> {
    (0..count).map(|nr| Digest::of(&[nr])).collect()
}

fn changed(config: &str, changes: &[&str]) -> Result<String, BadInstruction> {
    let text = format!(r#"{{"config":{config}}}"#);
    let mut config = Config::read(text.as_bytes(), &[]).unwrap();
    let instructions: Vec<Instruction> =
        changes.iter().map(|text| Instruction::parse(text)).collect::<Result<_, _>>()?;
    config.change(&instructions)?;
    let written: Object = serde_json::from_slice(&config.write()).unwrap();
    Ok(serde_json::to_string(&written.object("config")).unwrap())
}

#[test]
fn what_is_not_meant_stays_byte_for_byte() {
    let text = r#"{"zeta": [1.0, 1e400], "created":"2020-01-01T00:00:00Z","a":{"z":1,"b":  "\u00e9"},"rootfs":{"type":"layers","x":1,"diff_ids":[]},"config":null,"big":123456789012345678901234567890}"#;
    let mut config = Config::read(text.as_bytes(), &[]).unwrap();
    config.step(&Entry { created: "2026-01-02T03:04:05Z".to_owned(), empty_layer: true, ..Entry::default() });
    assert_eq!(
        String::from_utf8(config.write()).unwrap(),
        r#"{"zeta":[1.0, 1e400],"created":"2026-01-02T03:04:05Z","a":{"z":1,"b":  "\u00e9"},"rootfs":{"type":"layers","x":1,"diff_ids":[]},"config":null,"big":123456789012345678901234567890,"history":[{"created":"2026-01-02T03:04:05Z","empty_layer":true}]}"#
    );
}

#[test]
fn instructions_do_what_dockers_builder_does() {
    for (config, changes, outcome) in [
        ("null", &[r#"CMD ["a","b c"]"#][..], r#"{"Cmd":["a","b c"]}"#),
        ("{}", &["cmd echo $HOME"], r#"{"Cmd":["/bin/sh","-c","echo $HOME"]}"#),
        (
            r#"{"Shell":["/bin/ash","-c"]}"#,
            &["CMD x"],
            r#"{"Shell":["/bin/ash","-c"],"Cmd":["/bin/ash","-c","x"]}"#,
        ),
        (r#"{"Cmd":["a"]}"#, &["CMD [ -f x ] && y"], r#"{"Cmd":["/bin/sh","-c","[ -f x ] && y"]}"#),
        (r#"{"Cmd":["a"],"User":"u"}"#, &["CMD []"], r#"{"User":"u"}"#),
        (r#"{"Cmd":["a"]}"#, &[r#"ENTRYPOINT ["e"]"#], r#"{"Entrypoint":["e"]}"#),
        ("{}", &["CMD [\"c\"]", "ENTRYPOINT [\"e\"]"], r#"{"Cmd":["c"],"Entrypoint":["e"]}"#),
        ("{}", &["ENTRYPOINT [\"e\"]", "CMD [\"c\"]"], r#"{"Entrypoint":["e"],"Cmd":["c"]}"#),
        (
            r#"{"Env":["A=1","B=2"]}"#,
            &["ENV A=3 C='x y' D=\"$B z\""],
            r#"{"Env":["A=3","B=2","C=x y","D=2 z"]}"#,
        ),
        (r#"{"Env":["PATH=/bin"]}"#, &["ENV PATH /opt/bin:$PATH"], r#"{"Env":["PATH=/opt/bin:/bin"]}"#),
        ("{}", &["ENV A=1", "ENV B=${A"], ""),
        ("{}", &["ENV A=80", "EXPOSE $A"], r#"{"Env":["A=80"],"ExposedPorts":{"80/tcp":{}}}"#),
        ("{}", &["ENV A=1", "ENV B=$A"], r#"{"Env":["A=1","B=1"]}"#),
        (
            r#"{"Labels":{"z":"1"}}"#,
            &[r#"LABEL b=1 "a c"="d e""#],
            r#"{"Labels":{"a c":"d e","b":"1","z":"1"}}"#,
        ),
        ("{}", &["LABEL one two three"], r#"{"Labels":{"one":"two three"}}"#),
        (
            r#"{"ExposedPorts":{"80/tcp":{}}}"#,
            &["EXPOSE 443 53/udp 8000-8001"],
            r#"{"ExposedPorts":{"443/tcp":{},"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}"#,
        ),
        (
            r#"{"Volumes":null}"#,
            &["VOLUME /b /a", r#"VOLUME ["/c d"]"#],
            r#"{"Volumes":{"/a":{},"/b":{},"/c d":{}}}"#,
        ),
        ("{}", &["USER me:you"], r#"{"User":"me:you"}"#),
        (r#"{"WorkingDir":"/srv"}"#, &["WORKDIR www", "WORKDIR ../etc"], r#"{"WorkingDir":"/srv/etc"}"#),
        ("{}", &["WORKDIR a"], r#"{"WorkingDir":"/a"}"#),
        ("{}", &["STOPSIGNAL SIGRTMIN+3"], r#"{"StopSignal":"SIGRTMIN+3"}"#),
        (r#"{"stopsignal":"SIGINT"}"#, &["STOPSIGNAL 9"], r#"{"stopsignal":"9"}"#),
    ] {
        let done = changed(config, changes);
        assert_eq!(done.unwrap_or_default(), outcome, "{config} {changes:?}");
    }
}

#[test]
fn wrong_instruction_is_named_with_what_is_allowed() {
    const KNOWN: &str = "no instruction that changes a config: \
                         CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR";
    for (text, why) in [
        ("RUN x", KNOWN),
        ("", KNOWN),
        ("CMD", "it needs an argument"),
        ("CMD ['a']", "no JSON array of strings: [\"WORD\", \"WORD\"]"),
        ("CMD [1]", "no JSON array of strings: [\"WORD\", \"WORD\"]"),
        ("ENV a", "NAME=VALUE is the form"),
        ("ENV a=b c", "'c' has no '=': NAME=VALUE is the form"),
        ("ENV =b", "a name cannot be empty"),
        ("ENV a='b", "a quote is not closed"),
        ("LABEL a=b c", "'c' has no '=': NAME=VALUE is the form"),
        ("EXPOSE 70000", "'70000' is no port: 80, 80/udp, 8000-8010; with /tcp, /udp or /sctp"),
        ("EXPOSE 9-8", "'9-8' is no port: 80, 80/udp, 8000-8010; with /tcp, /udp or /sctp"),
        ("EXPOSE +80", "'+80' is no port: 80, 80/udp, 8000-8010; with /tcp, /udp or /sctp"),
        ("VOLUME []", "a volume needs a path"),
        ("STOPSIGNAL SIGNOT", "'SIGNOT' is no signal: a name such as SIGTERM, or a number from 1 to 64"),
        ("STOPSIGNAL 0", "'0' is no signal: a name such as SIGTERM, or a number from 1 to 64"),
    ] {
        assert_eq!(Instruction::parse(text).unwrap_err().to_string(), format!("'{text}': {why}"));
    }
}

#[test]
fn command_is_told_as_the_engines_do() {
    for (config, command) in [
        (r#"{"config":{"Cmd":["/bin/sh","-c","x y"]}}"#, Some("/bin/sh -c x y")),
        (r#"{"config":{"Cmd":[]}}"#, None),
        (r#"{"config":{"Cmd":null}}"#, None),
        ("{}", None),
    ] {
        assert_eq!(Config::read(config.as_bytes(), &[]).unwrap().command().as_deref(), command, "{config}");
    }
}

/// A config with three layers, and steps that left none before, between and after them.
fn three() -> Vec<u8> {
    let step = |name: &str, empty: bool| format!(r#"{{"created_by":"{name}","empty_layer":{empty}}}"#);
    let steps = [
        step("ENV", true),
        step("one", false),
        step("USER", true),
        step("two", false),
        step("three", false),
        step("CMD", true),
    ];
    let ids = serde_json::to_string(&ids(3)).unwrap();
    format!(r#"{{"rootfs":{{"diff_ids":{ids}}},"history":[{}]}}"#, steps.join(",")).into_bytes()
}

fn told(config: Config) -> (Vec<String>, usize) {
    let config: Value = serde_json::from_slice(&config.write()).unwrap();
    let told = |step: &Value| {
        let empty = step["empty_layer"].as_bool().unwrap_or_default();
        format!("{}{}", step["created_by"].as_str().unwrap_or("?"), if empty { " -" } else { "" })
    };
    let steps = config["history"].as_array().unwrap().iter().map(told).collect();
    (steps, config["rootfs"]["diff_ids"].as_array().unwrap().len())
}

#[test]
fn fewer_layers_have_the_history_up_to_them() {
    let steps = |count| told(Config::read(&three(), &ids(count)).unwrap());
    assert_eq!(steps(3).0, ["ENV -", "one", "USER -", "two", "three", "CMD -"]);
    assert_eq!(steps(2), (["ENV -", "one", "USER -", "two"].map(str::to_owned).to_vec(), 2));
    assert_eq!(steps(1).0, ["ENV -", "one"]);
    assert_eq!(steps(0), (Vec::new(), 0));
}

#[test]
fn image_without_a_history_gets_a_step_for_each_layer() {
    let mut config = Config::read(b"{}", &ids(2)).unwrap();
    config.layer(Digest::of(b"new"));
    config.step(&Entry { created: "now".to_owned(), created_by: Some("new".to_owned()), ..Entry::default() });
    assert_eq!(told(config), (["?", "?", "new"].map(str::to_owned).to_vec(), 3));
}

#[test]
fn merged_layers_leave_steps_without_layers() {
    let merged = |from| {
        let mut config = Config::read(&three(), &ids(3)).unwrap();
        config.merge(from, Digest::of(b"merged"));
        config.step(&Entry { created: "now".to_owned(), ..Entry::default() });
        told(config)
    };
    assert_eq!(merged(1).0, ["ENV -", "one -", "USER -", "two -", "three -", "CMD -", "?"]);
    assert_eq!(merged(1).1, 1);
    assert_eq!(merged(2).0, ["ENV -", "one", "USER -", "two -", "three -", "CMD -", "?"]);
    assert_eq!(
        merged(3),
        (["ENV -", "one", "USER -", "two", "three -", "CMD -", "?"].map(str::to_owned).to_vec(), 3)
    );
}
