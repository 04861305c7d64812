use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{Expression, ExpressionError, Variables},
    estimate,
    size::Measure,
    steps,
};

/// A body of about 256 KiB: 2,000 elements of about 100 bytes, a long list of numbers and long texts.
fn variables() -> Variables {
    let items: Vec<Value> =
        (0..2000).map(|i| json!({"id": format!("patient-{i:06}"), "value": i, "note": "x".repeat(50)})).collect();
    let entries: Vec<Value> = (0..100)
        .map(|i| json!({"resource": {"code": {"text": "c".repeat(i)}, "tags": ["a", "b"], "data": "d".repeat(if i == 7 { 150_000 } else { 9 })}}))
        .collect();
    let uneven: Vec<Value> = (0..100)
        .map(|i| {
            if i == 0 {
                json!({"keys": vec![1; 2000], "data": "d".repeat(100_000)})
            } else {
                json!({"keys": [1], "data": "d"})
            }
        })
        .collect();
    let mixed: String = (0..262_144_u64).map(|i| ["a", "b", "c"][(i * i / 7 % 3) as usize]).collect();
    let body = |value: Value| json!({"body": value});
    Variables::from([
        ("result".to_owned(), body(json!({"items": items}))),
        ("fhir".to_owned(), body(json!({"entry": entries}))),
        ("numbers".to_owned(), body(json!((0..50_000).map(|i| i % 100).collect::<Vec<_>>()))),
        ("text".to_owned(), body(json!("a".repeat(256 << 10)))),
        ("mixed".to_owned(), body(json!(mixed))),
        ("uneven".to_owned(), body(json!(uneven))),
        ("deep".to_owned(), (0..40).fold(json!(1), |inside, _| json!([inside]))),
        (
            "params".to_owned(),
            json!({"n": 50, "big": 2_000_000_000, "name": "ct-1", "list": (0..50).collect::<Vec<_>>(), "words": ["alpha", "beta", "gamma"]}),
        ),
    ])
}

/// Why it is refused; it is not evaluated, which might never end.
fn refused(text: &str, variables: &Variables) -> Option<String> {
    assert!(text.len() <= 1024, "{text}");
    let expression = Expression::compile(text).unwrap_or_else(|e| panic!("{e}"));
    steps(&expression.program, variables).err()
}

#[test]
fn what_people_write_passes() {
    let variables = variables();
    for text in [
        "result.body.items.map(i, i.id)",
        "result.body.items.all(i, i.value >= 0 && i.id != '')",
        "result.body.items.exists(i, i.id == 'patient-001999')",
        "result.body.items.exists_one(i, i.value == 7)",
        "result.body.items.filter(i, i.value >= 0)",
        "result.body.items.filter(i, i.value > 1000 && i.note != '').map(i, i.id)",
        "result.body.items.map(i, {'id': i.id, 'twice': i.value * 2})",
        "numbers.body.map(n, n + 1).sum()",
        "result.body.items.map(i, i.value).sum()",
        "result.body.items.map(i, i.id + ':' + string(i.value)).join(',')",
        "size(result.body.items) == 2000 && result.body.items[0].value == 0",
        "result.body.items.all(i, i.id.startsWith('patient-') && i.id.matches('^patient-[0-9]{6}$'))",
        "result.body.items.exists(i, params.words.exists(w, i.id == w))",
        "params.list.exists(a, params.list.exists(b, a + b == 98))",
        "fhir.body.entry.filter(e, has(e.resource.code) && 'a' in e.resource.tags).map(e, e.resource.code.text)",
        "fhir.body.entry.map(e, e.resource.tags).flatten().distinct()",
        "fhir.body.entry[7].resource.data.size() > 1000",
        "text.body.contains('b') || text.body.replace('b', 'cc').size() > 0",
        "text.body.split(',').size() == 1",
        "mixed.body.matches('^[abc]+$')",
        "'Patient/' + params.name + '?_count=' + string(params.n)",
        "lists.range(params.n).map(i, params.name + '-' + string(i)).join(',')",
        "params.words.map(w, w.upperAscii()).sort().reverse().join('/').split('/').size() == 3",
        "'%s has %d'.format([params.name, params.n])",
        "{'name': params.name, 'sum': params.list.sum(), 'top': params.list.filter(i, i > 45)}",
        "max(min(params.n, 10), 3) + math.greatest(1, params.n)",
    ] {
        let value = Expression::compile(text).unwrap().evaluate(&variables);
        assert!(value.is_ok(), "{text}: {value:?}");
    }
}

#[test]
fn attacks_are_refused_at_once() {
    let variables = variables();
    let repeat = |start: &str, part: &str, times: usize| format!("{start}{}", part.repeat(times));
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let attacks = [
        repeat("['aaaaaaaa']", ".map(x,x+x+x+x)", 20),
        repeat("'a'", ".replace('a','aaaaaaaaaa')", 12),
        repeat("'a'", ".replace('','aaaaaaaaaa')", 12),
        "numbers.body.map(x, numbers.body.map(y, x + y))".into(),
        "numbers.body.all(x, numbers.body.all(y, x == y || true))".into(),
        "numbers.body.map(x, [x, x, x, x, x])".into(),
        repeat("[1,1,1,1,1,1,1,1]", ".map(x,[x,x,x,x,x,x,x,x])", 20),
        repeat("['x']", ".map(x,[x,x]).map(x,x.join('').replace('x','xxxxx'))", 9),
        "lists.range(2000000000)".into(),
        "lists.range(params.big).size()".into(),
        "lists.range(int('2000000000'))".into(),
        "lists.range(99999 * 99999)".into(),
        nested("min(", "1,2", ")", 40),
        nested("replace(", "'a'", ",'a','b')", 28),
        "text.body.split('')".into(),
        "text.body.replace('a', text.body)".into(),
        "text.body.indexOf(text.body + 'b')".into(),
        "[text.body, text.body, text.body].join(text.body) + text.body.replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')".into(),
        "mixed.body.matches('a[abc]{900}d')".into(),
        "mixed.body.matches('(a(b|.){30}){30}d')".into(),
        "text.body.findAll('.*[^a-z]|[a-z]')".into(),
        "lists.range(2000).all(i, 'a'.matches('\\\\w{200}') || true)".into(),
        "lists.range(5000).map(i, text.body)".into(),
        "lists.range(5000).all(i, text.body.size() > 0)".into(),
        "lists.range(300).map(i, '%.65000f').join('').format(lists.range(300).map(i, 1.5))".into(),
        "lists.range(20000).distinct()".into(),
        "sets.equivalent(lists.range(9000), lists.range(9000))".into(),
        "fhir.body.entry.map(e, fhir.body.entry.map(f, f.resource.data))".into(),
        repeat("text.body", " + text.body", 60),
        repeat("[[text.body].join(text.body)]", " == [[text.body].join(text.body)]", 20),
        nested("[", "deep", "]", 70),
        // the mean of all elements says nothing of the one that is always taken
        "lists.range(200).map(i, fhir.body.entry[7 + i - i].resource.data)".into(),
        // nor does it where the large element is also the one visited most
        "uneven.body.all(u, u.keys.all(k, u.data.size() > 0))".into(),
    ];
    for text in attacks {
        assert!(refused(&text, &variables).is_some(), "{text} is not refused");
    }
}

#[test]
fn refusals_name_the_bound() {
    let variables = variables();
    let problem = |text: &str| refused(text, &variables).unwrap();
    assert_eq!(problem("numbers.body.map(x, numbers.body.map(y, x))"), "it could take more than 20 million steps");
    assert_eq!(
        problem("text.body.replace('a', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')"),
        "a value in it could need more than 8 MiB of memory"
    );
}

#[test]
fn the_actual_size_decides() {
    let text = "params.list.map(a, params.list.map(b, a * b))";
    let with = |n: u64| Variables::from([("params".to_owned(), json!({"list": (0..n).collect::<Vec<_>>()}))]);
    assert_eq!(refused(text, &with(50)), None);
    assert!(refused(text, &with(5000)).is_some());
}

/// Random expressions over the variables `s` (text), `l` (numbers), `w` (texts), `o` (objects): a text and a list of texts
/// at each level, made of those of the level below.
fn expressions() -> impl Strategy<Value = String> {
    let texts = vec!["s", "o[0].t", "'a'", "'é,b'", "''", "'aaaaaaaaaa'", "string(o[1].n)", "w[0]"];
    let lists =
        vec!["w", "[]", "['a', 'bb']", "o.map(x, x.t)", "l.map(x, string(x))", "o[1].k", "o.map(x, x.k).flatten()"];
    let leaf =
        (prop::sample::select(texts), prop::sample::select(lists)).prop_map(|(t, l)| (t.to_owned(), l.to_owned()));
    let level = leaf.prop_recursive(5, 30, 4, |inner| {
        let text = prop::sample::select(vec![
            "T",
            "T + U",
            "T.replace('a', U)",
            "T.replace(U, 'xyz')",
            "T.replace('', U)",
            "L.join(T)",
            "L.join()",
            "M.map(x, x + T).join()",
            "'%s=%s'.format([T, L])",
            "'%s'.format([[T, U]])",
            "T.upperAscii().reverse()",
            "strings.quote(T)",
            "T.substring(0, T.size() / 2)",
            "string(T.size())",
            "T.find('a+')",
            "(T == U ? T : U + T)",
            "[L, M].join(T)",
            "lists.range(T.size() % 50).join(U)",
            "L.exists(x, x == T) ? T : U",
            "min(T, U)",
            "(L + [T])[0]",
            "(L + [T])[M.size() % (L.size() + 1)]",
            "{'k': T, U: L}['k']",
            "[{'k': T}][0].k",
            "base64.encode(bytes(T))",
            "optional.of(T).orValue(U)",
            "L.filter(x, x != T).join(U)",
            "jsonpatch.escapeKey(T)",
        ]);
        let list = prop::sample::select(vec![
            "L",
            "L + M",
            "L + [T]",
            "[T, U, T]",
            "L.map(x, T)",
            "L.map(x, x + T)",
            "L.map(x, x.replace('a', T))",
            "L.map(x, x == T, U + x)",
            "L.filter(x, x != T)",
            "L.filter(x, M.exists(y, y == x))",
            "L.map(x, M.map(y, x + y)).flatten()",
            "L.map(x, M).flatten()",
            "T.split('a')",
            "T.split(U)",
            "T.split('')",
            "T.findAll('a+')",
            "L.distinct()",
            "L.sort()",
            "L.reverse()",
            "[L, M].flatten()",
            "lists.range(L.size() * 2).map(x, string(x) + T)",
            "L.map(x, x.split('')).flatten()",
            "L.map(x, {'k': x + T}).map(x, x.k)",
            "o.filter(x, x.t != T).map(x, x.k.join(U))",
            "o.map(x, x.k.map(y, x.t + y)).flatten()",
            "[L, M].sum()",
            "L.slice(0, L.size() / 2)",
            "[L, M].map(x, x.map(y, y + T)).flatten()",
            "o.map(x, x.k.exists(y, y == T) ? x.t : U)",
        ]);
        (inner.clone(), inner, text, list).prop_map(|((t, l), (u, m), text, list)| {
            let put = |template: &str| {
                template.chars().fold(String::new(), |mut out, c| {
                    match c {
                        'T' => out.push_str(&format!("({t})")),
                        'U' => out.push_str(&format!("({u})")),
                        'L' => out.push_str(&format!("({l})")),
                        'M' => out.push_str(&format!("({m})")),
                        c => out.push(c),
                    }
                    out
                })
            };
            (put(text), put(list))
        })
    });
    (level, any::<bool>()).prop_map(|((text, list), first)| if first { text } else { list })
}

fn data() -> impl Strategy<Value = Variables> {
    let text = || prop_oneof![4 => "[a-d,é\\n]{0,12}", 1 => "(a){0,9000}"];
    (
        text(),
        prop::collection::vec(-5_i64..1000, 0..300),
        prop::collection::vec(text(), 0..20),
        prop::collection::vec((text(), prop::collection::vec(text(), 0..4), any::<i32>()), 2..12),
    )
        .prop_map(|(s, l, w, o)| {
            let o: Vec<Value> = o.into_iter().map(|(t, k, n)| json!({"t": t, "k": k, "n": n})).collect();
            Variables::from([
                ("s".into(), json!(s)),
                ("l".into(), json!(l)),
                ("w".into(), json!(w)),
                ("o".into(), json!(o)),
            ])
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_is_larger_than_estimated(text in expressions(), variables in data()) {
        let Ok(expression) = Expression::compile(&text) else { return Ok(()) };
        let estimate = estimate(&expression.program, &variables).map(|(size, _)| size);
        let value = expression.evaluate(&variables);
        let Ok(estimate) = estimate else {
            let refused = matches!(value, Err(ExpressionError::TooCostly { .. }));
            prop_assert!(refused);
            return Ok(());
        };
        let Ok(value) = value else { return Ok(()) };
        let (real, size) = (Measure::of(&value), estimate);
        prop_assert!(real.bytes <= size.bytes.most, "{real:?} {size:?} {text}");
        prop_assert!(real.nodes <= size.nodes.most, "{real:?} {size:?} {text}");
        prop_assert!(real.depth <= size.depth, "{real:?} {size:?} {text}");
        prop_assert!(real.whole <= size.whole, "{real:?} {size:?} {text}");
        // a control character takes six bytes in JSON; the other values, commas and quotes are nodes
        prop_assert!(value.to_string().len() as u64 <= 6 * size.bytes.most + 48 * size.nodes.most, "{text}");
    }
}
