//! What is understood of a table that may have been meant otherwise: it is told, or refused.
use super::{File, all_rows, archive, np1, read};
use vae_gpu::data::{Asked, Columns, Dataset, Missing};

/// What is said of a text, without the name of the file.
fn notes(text: &str) -> Vec<String> {
    let data = read("t.csv", text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    data.notes.iter().map(|note| note.strip_prefix(&data.name).unwrap().to_string()).collect()
}

fn refused(text: &str, sentence: &str) {
    let error = read("t.csv", text.as_bytes()).unwrap_err().to_string();
    assert!(error.contains(sentence), "{text}\n got: {error}\nwant: {sentence}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_column_of_row_names_is_told() {
    assert_eq!(notes("id,age\nann,5\nbob,7\n"), [": first column (\"id\") taken as names of the rows"]);
    assert_eq!(notes("ann,5\nbob,7\n"), [": first column taken as names of the rows"]);
    assert_eq!(notes(",age\n0,5\n1,7\n"), [": first column taken as names of the rows"]);
    // Dates, versions and numbered things are names.
    assert_eq!(notes("2020-01-01,5\n2020-01-02,7\n").len(), 1);
    assert_eq!(notes("#1,5\n#2,7\n#3,7\n#4,7\n").len(), 1);
    assert_eq!(notes("age,height\n5,6\n"), [""; 0]);
}

#[test]
fn words_that_are_no_names_of_rows_are_refused() {
    let sexes: String = (0..9).map(|i| format!("{},{i}\n", if i % 2 == 0 { "M" } else { "F" })).collect();
    let again = "has words that come again, 2 different ones in 9 rows: names of rows differ; train with";
    refused(&format!("sex,age\n{sexes}"), &format!("{again} --categorical sex"));
    refused(&sexes, &format!("{again} --categorical 0"));
    let quoted = "t,v\n\"167,1\",5\n\"168,2\",6\n";
    refused(quoted, "line 2, column 1 (\"t\") of");
    refused(
        quoted,
        "is \"167,1\", not a number: write the decimal comma as a point, or separate the cells by semicolons",
    );
    // Either may be meant.
    let either = "write 11828, or 11.828 if the comma is a decimal one";
    refused("v,t\n5,\"11,828\"\n6,\"12,001\"\n", &format!("is \"11,828\", not a number: {either}"));
    let thousands = "not a number: leave out the points that part thousands";
    refused("t;v\n1.234,5;5\n1.235,5;6\n", &format!("is \"1.234,5\", {thousands}"));
    for cell in ["1,234.5", "-12,345,678", "1,234,567.25"] {
        refused(
            &format!("t;v\n5;{cell}\n"),
            &format!("is \"{cell}\", not a number: leave out the commas that part thousands"),
        );
    }
    refused("t;v\n5;1,2,3\n", "not a number: separate numbers by comma, semicolon or tab");
    refused("t;v\n5;1.234,5\n", &format!("is \"1.234,5\", {thousands}"));
    refused("who,v\nx,5\nTrue,6\n", "but line 3 has the number \"True\" there: the first column must be all names or");
    refused("id,v\nx,5\n# half of them,\ny,6\n", "line 3 of");
    refused(
        "id,v\nx,5\n# half of them,\ny,6\n",
        "begins with \"# half of them\": comments are not read; delete the line",
    );
    // A comment above numbers is no header that leaves a title out, nor is any line above a column that says the same again.
    refused(
        "# made by a script on Monday\n1.5,3\n2.5,4\n",
        "begins with \"# made by a script on Monday\": comments are not read",
    );
    refused("# mine, of Monday\n1.5,3,1\n2.5,4,0\n", "line 1 of");
    let again: String = (0..20).map(|i| format!("{},{i},{}\n", i % 3, i % 7)).collect();
    refused(
        &format!("dose,effect\n{again}"),
        "has a title less than there are columns, so that the first would be names of rows; but it has 3 different numbers in 20 \
         rows: give each column a title, or delete the line if it is a comment",
    );
    assert_eq!(notes("a,b\n1,5,6\n2,7,8\n3,9,1\n").len(), 1, "as R writes rows that are numbered");
    // Names may come again now and then.
    assert_eq!(all_rows(&read("t.csv", b"a,1\nb,2\na,3\nc,4\n").unwrap()), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_comma_is_a_decimal_point_where_it_separates_nothing() {
    let data = read("t.csv", "id;größe;kg\nann;167,1;-5\nbob;,5;1,2e1\n".as_bytes()).unwrap();
    assert_eq!(all_rows(&data), [167.1, -5.0, 0.5, 12.0]);
    assert_eq!(data.columns.names, ["größe", "kg"]);
    assert!(data.notes.iter().any(|note| note.ends_with(": commas taken as decimal points")), "{:?}", data.notes);
    assert_eq!(all_rows(&read("t.tsv", b"0,25\t3\n0,123\t4\n").unwrap()), [0.25, 3.0, 0.123, 4.0]);
    assert_eq!(notes("a;b\n1.5;2\n2.5;3\n"), [""; 0]);

    refused("t;v\n5;1,\n", "is \"1,\", not a number");

    // What may part thousands as well is no number that one can trust.
    let plain = "write the decimal comma as a point, and leave out what parts thousands";
    let unsure = "\"1,250\", and no comma of the file tells whether that is 1.250 or 1250";
    refused("a;b\n1;1,250\n2;980\n", "line 2, column 2 of");
    refused("a;b\n1;1,250\n2;980\n", &format!("is {unsure}: {plain}"));
    let both = format!("is \"0,5\", but line 2 has \"1.250\": one of the marks may part thousands; {plain}");
    refused("a;b\n1;1.250\n0,5;980\n", &both);
    refused("a;b\n0,5;3\n1;1.250\n", &both.replace("line 2 has", "line 3 has"));
    assert_eq!(all_rows(&read("t.csv", b"1,250;3\n2,5;4\n").unwrap()), [1.25, 3.0, 2.5, 4.0]);
    assert_eq!(notes("a;b\n1.234;2\n250;3\n"), [": points taken as decimal points, as in \"1.234\""]);
    assert_eq!(notes("a;b\n1.234;2\n0.250;3\n"), [""; 0]);
    // Beside the columns that are learned anything may stand.
    let file = File::new("t.csv", b"version;a\n1.2;0,5\n1.3;0,75\n");
    let columns = Columns::asked(Asked { skip: Some("version".parse().unwrap()), ..Asked::default() });
    let data = Dataset::read_columns(&file.0, columns.as_ref(), Missing::Refuse).unwrap();
    assert_eq!(all_rows(&data), [0.5, 0.75]);
}

#[test]
fn what_separates_cells_is_told_by_two_lines() {
    let rows = |text: &str| read("t.csv", text.as_bytes()).map(|data| (all_rows(&data), data.columns.names)).unwrap();
    let named = |values: &[f32], names: &[&str]| (values.to_vec(), names.iter().map(|name| name.to_string()).collect());
    // A semicolon or a tab in a title, which programs do not quote there.
    assert_eq!(rows("nr,price (EUR; net),n\n1,2.5,3\n2,3.5,5\n").0, [1.0, 2.5, 3.0, 2.0, 3.5, 5.0]);
    assert_eq!(
        rows("a;b (x, y);c\n1;2,5;3\n2;3,5;5\n"),
        named(&[1.0, 2.5, 3.0, 2.0, 3.5, 5.0], &["a", "b (x, y)", "c"])
    );
    assert_eq!(rows("\"a\n;b\",c\n1,2\n"), named(&[1.0, 2.0], &["a\n;b", "c"]));
    // R leaves the title of the names of rows out.
    assert_eq!(rows("a;b\nr;1,5;2\ns;2,5;3\n"), named(&[1.5, 2.0, 2.5, 3.0], &["a", "b"]));
    // What Excel writes, and reads, in front.
    assert_eq!(rows("sep=;\r\na;b\r\n1,5;2\r\n"), named(&[1.5, 2.0], &["a", "b"]));
    assert_eq!(rows("sep=,\na,b\n1.5,2\n"), named(&[1.5, 2.0], &["a", "b"]));
    refused("sep=;\n", "holds");
    // One column with decimal commas looks like two, of which the first has no title.
    refused("x\n170,5\n171,25\n", "line 2 of");
    refused(
        "x\n170,5\n171,25\n",
        "has \"170\" and \"5\" below one title: if that is a decimal comma write a point; if the first are names of rows give them a title",
    );
    assert_eq!(rows("x\n1,5\n2,7\n"), named(&[5.0, 7.0], &["x"]));
    assert_eq!(rows("x\na,5\nb,7\n"), named(&[5.0, 7.0], &["x"]));
}

#[test]
fn truth_values_are_one_and_zero() {
    assert_eq!(all_rows(&read("t.csv", b"flag,v\nTrue,5\nFalse,6\n").unwrap()), [1.0, 5.0, 0.0, 6.0]);
    assert_eq!(all_rows(&read("t.csv", b"v,flag\n5,TRUE\n6,false\n").unwrap()), [5.0, 1.0, 6.0, 0.0]);
}

#[test]
fn a_header_that_counts_its_columns_is_no_example() {
    let rows = |text: &str| {
        read("t.csv", text.as_bytes()).map(|data| (data.rows(), data.cols, data.columns.names.join(" "))).unwrap()
    };
    let many: Vec<String> = (0..9).map(|i| i.to_string()).collect();
    let many = many.join(",");
    assert_eq!(rows("0,1,2\n0.5,1.5,2e3\n3.5,4.5,5.5\n"), (2, 3, "0 1 2".into()));
    assert_eq!(rows(&format!("{many}\n5,0,255,0,0,0,0,0,0\n")), (1, 9, many.replace(',', " ")));
    assert_eq!(rows("id,2001,2002,2003\nann,0.5,1.5,2.5\n"), (1, 3, "2001 2002 2003".into()));
    assert_eq!(rows("id,7,8,9,10,11\nann,45,1.5,1,0,1e-6\n"), (1, 5, "7 8 9 10 11".into()));
    assert_eq!(rows(&format!("id,{many}\nann,5,0,255,0,0,0,0,0,0\n")), (1, 9, many.replace(',', " ")));
    assert_eq!(
        notes("0,1,2\n0.5,1.5,2e3\n"),
        [": first line (\"0\", \"1\", \"2\", ...) taken as names of the columns; pass --header no if it is an example"]
    );
    // Years, over what is none.
    assert_eq!(rows("Land;2020;2021;2022\nDE;2,5;3;4\nFR;3,5;4;5\n"), (2, 3, "2020 2021 2022".into()));
    assert_eq!(rows("Land,1990,2000\nDE,5,2001\n"), (1, 2, "1990 2000".into()));
    assert_eq!(rows("1990,2000,2020\n5,7,9\n"), (1, 3, "1990 2000 2020".into()));
    // Wavelengths, by their even steps and the fractions below.
    assert_eq!(rows("400,410,420,430,440\n0.3,0.5,0.25,0.5,1e-3\n"), (1, 5, "400 410 420 430 440".into()));
    assert_eq!(rows("id,400,410,420,430,440\nann,0.3,0.5,0,0.5,1\n"), (1, 5, "400 410 420 430 440".into()));
    // An example all the same: whole numbers below, other steps, few columns.
    for text in [
        "0,1,2\n3,4,5\n",
        "1,2,3\n0.5,1.5,2.5\n",
        "0,1,3\n0.5,1.5,2.5\n",
        "1,2\n0.5,1.5\n",
        "0.0,1.0,2.0\n0.5,1.5,2.5\n",
        "400,410,420,430\n0.3,0.5,0.25,0.5\n",
        "400,410,420,430,440\n0.3,0.5,0.25,0.5,1\n",
        "400,410,420,430,441\n0.3,0.5,0.25,0.5,0.1\n",
        "440,430,420,410,400\n0.3,0.5,0.25,0.5,0.1\n",
        "1990,2000\n5,7\n",
        "2020,2010,2000\n5,7,9\n",
    ] {
        assert_eq!(rows(text).0, 2, "{text}");
        assert_eq!(notes(text), [""; 0]);
    }
    assert_eq!(rows("ann,7,8,9\nbob,1,2,3\n").0, 2);
    assert_eq!(rows("ann,1980,2010\nbob,1975,1999\n").0, 2);
}

#[test]
fn a_header_behind_the_mark_of_a_comment_is_one() {
    let names = |text: &str| read("t.csv", text.as_bytes()).unwrap().columns.names.join(" ");
    assert_eq!(names("# a,b,c\n1,2,3\n"), "a b c");
    assert_eq!(names("#a,b,c\n1,2,3\n"), "a b c");
    assert_eq!(names("# id,b,c\nx,2,3\ny,2,3\n"), "b c");
    assert_eq!(names("#,b,c\n1,2,3\n"), "# b c");
}

#[test]
fn a_row_without_its_name_is_a_row() {
    assert_eq!(all_rows(&read("t.csv", b"id,a\n,1\ny,2\nz,3\n").unwrap()), [1.0, 2.0, 3.0]);
    assert_eq!(all_rows(&read("t.csv", b"id,a\nx,1\n,2\nz,3\n").unwrap()), [1.0, 2.0, 3.0]);
    refused("a,b\n,1\n2,3\n", "line 2, column 1 (\"a\") of");
}

#[test]
fn a_column_that_f32_does_not_tell_apart_is_told() {
    let time = |i: usize| 1_700_000_000.0 + 7.0 * i as f64;
    let rows = |value: &dyn Fn(usize) -> f64| (0..40).map(|i| format!("{},{}\n", i % 3, value(i))).collect::<String>();
    let sentence = |data: vae_gpu::data::Dataset| data.check_rounding().unwrap_err().to_string();
    let times = read("t.csv", format!("a,time\n{}", rows(&time)).as_bytes()).unwrap();
    let said = sentence(times.clone());
    assert!(said.starts_with("column 1 (\"time\", counted from 0) of "), "{said}");
    assert!(
        said.ends_with(
            ": its numbers near 1700000000 differ by hardly more than 128, the step of f32 there; subtract an offset from the \
             column, as its smallest number"
        ),
        "{said}"
    );
    let away = Columns::asked(Asked { skip: Some("1".parse().unwrap()), ..Asked::default() }).unwrap();
    assert!(times.with_columns(&away).unwrap().check_rounding().is_ok(), "a column that is left out does not matter");
    for fine in [&(|i: usize| 7.0 * i as f64) as &dyn Fn(usize) -> f64, &|i| time(i * 86400), &|_| time(1)] {
        assert!(read("t.csv", rows(fine).as_bytes()).unwrap().check_rounding().is_ok());
    }
    let (by_rows, by_columns) = ((0..80).map(|i| (i / 2, i % 2)), (0..80).map(|i| (i % 40, i / 40)));
    let number = |(i, j): (usize, usize)| if j == 0 { i as f64 } else { time(i) };
    let order: [(&str, Vec<f64>); 2] =
        [("False", by_rows.map(number).collect()), ("True", by_columns.map(number).collect())];
    for (fortran, numbers) in order {
        let reals = numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let whole = numbers.iter().flat_map(|&v| (v as i32).to_be_bytes()).collect::<Vec<_>>();
        for (kind, bytes) in [("<f8", reals), (">i4", whole)] {
            let said = sentence(read("t.npy", &np1(kind, fortran, "(40, 2)", &bytes)).unwrap());
            assert!(said.starts_with("column 1 (counted from 0) of "), "{kind}, {fortran}: {said}");
        }
    }
    // The other formats, of every type that holds more than f32 does.
    let numbers: Vec<f64> = (0..80).map(|i| number((i / 2, i % 2))).collect();
    let wide = |kind: &str| -> Vec<u8> {
        let bytes = |&x: &f64| match kind {
            "F64" => x.to_le_bytes().to_vec(),
            "I32" | "U32" => (x as u32).to_le_bytes().to_vec(),
            _ => (x as u64).to_le_bytes().to_vec(),
        };
        numbers.iter().flat_map(bytes).collect()
    };
    for kind in ["F64", "I32", "U32", "I64", "U64"] {
        let bytes = wide(kind);
        let header =
            format!("{{\"x\":{{\"dtype\":\"{kind}\",\"shape\":[40,2],\"data_offsets\":[0,{}]}}}}", bytes.len());
        let said = sentence(read("t.safetensors", &archive::safetensors(&header, &bytes)).unwrap());
        assert!(said.starts_with("column 1 (counted from 0) of "), "{kind}: {said}");
    }
    for (kind, swapped) in [(0x0c, wide("I32")), (0x0e, wide("F64"))] {
        let size = swapped.len() / 80;
        let bytes: Vec<u8> = swapped.chunks(size).flat_map(|number| number.iter().rev().copied()).collect();
        let idx = [&[0, 0, kind, 2, 0, 0, 0, 40, 0, 0, 0, 2][..], &bytes].concat();
        let said = sentence(read("t.idx", &idx).unwrap());
        assert!(said.starts_with("column 1 (counted from 0) of "), "{kind}: {said}");
    }
}

/// As pandas writes a table whose columns are called by numbers: nothing above the names of the rows, which are numbers too.
#[test]
fn numbers_above_numbered_rows_are_a_header() {
    let table = |head: &str, rows: &[&str]| [&[head], rows].concat().join("\n") + "\n";
    let values = ["1.5,2.5,0.25", "0.5,3,1", "2,2,2", "1,0,4.5"];
    let numbered =
        |from: usize| values.iter().enumerate().map(|(i, row)| format!("{},{row}", i + from)).collect::<Vec<_>>();
    for (head, from) in [(",2019,2020,2021", 0), (",2019,2020,2021", 1001), (",3,1,2", 7), (",5,10,30", 0)] {
        let rows = numbered(from);
        let text = table(head, &rows.iter().map(String::as_str).collect::<Vec<_>>());
        for missing in [Missing::Allow, Missing::Refuse] {
            let data = Dataset::columns_from_bytes("t.csv", text.as_bytes(), &Columns::default(), missing).unwrap();
            assert_eq!((data.rows(), data.cols), (4, 3), "{head} from {from}");
            let names: Vec<&str> = data.columns.names.iter().map(String::as_str).collect();
            assert_eq!(names, head[1..].split(',').collect::<Vec<_>>());
            assert!(data.notes.iter().any(|note| note.contains("taken as names of the columns; pass --header no")));
        }
    }
    // Counts of which the first is missing: an example.
    let counts = table(",3,5,7", &["4,2,1,0", "1,1,0,2"]);
    let data = Dataset::columns_from_bytes("t.csv", counts.as_bytes(), &Columns::default(), Missing::Allow).unwrap();
    assert_eq!((data.rows(), data.cols), (3, 4));
    refused(
        &counts,
        "t.csv is empty: fill the cell, leave the example out, train with --missing allow, or pass --header yes \
         if the line is one",
    );
}

#[test]
fn a_column_that_counts_the_rows_is_told() {
    let rows =
        |key: &dyn Fn(usize) -> u64| (0..30).map(|i| format!("{},{}\n", (i as f64).sin(), key(i))).collect::<String>();
    let counting = |text: &str| notes(text).iter().any(|note| note.contains("counts the rows"));
    let said = notes(&format!("a,customer\n{}", rows(&|i| 100_000_007 + i as u64)));
    assert_eq!(
        said,
        [": column 1 (\"customer\", counted from 0) counts the rows; --skip-columns customer leaves it out"],
        "also where f32 would not tell them apart"
    );
    assert!(counting(&rows(&|i| i as u64)) && !counting(&rows(&|i| (i * i) as u64)));
    let named = Columns::asked(Asked { take: Some("0,1".parse().unwrap()), ..Asked::default() }).unwrap();
    let data = Dataset::columns_from_bytes("t.csv", rows(&|i| i as u64).as_bytes(), &named, Missing::Refuse).unwrap();
    assert!(data.notes.is_empty(), "it was asked for: {:?}", data.notes);
}
