//! What a text looks like to a model trained on tweets: names and links are `@user` and `http`.
//!
//! As the model card of `cardiffnlp/twitter-roberta-base-sentiment` prepares a text. It also keeps names from the model.

/// The text with each word that begins with `@` or `http` replaced. Words are parted by single blanks, as there.
pub(super) fn prepare(text: &str) -> String {
    let mut prepared = String::with_capacity(text.len());
    for (place, word) in text.split(' ').enumerate() {
        if place > 0 {
            prepared.push(' ');
        }
        prepared.push_str(match word {
            word if word.starts_with('@') && word.chars().nth(1).is_some() => "@user",
            word if word.starts_with("http") => "http",
            word => word,
        });
    }
    prepared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_links_are_replaced_and_nothing_else() {
        assert_eq!(prepare("@ann see https://a.example/x?y  @ x@y"), "@user see http  @ x@y");
        assert_eq!(prepare("\n@ann"), "\n@ann", "only blanks part words");
        assert_eq!(prepare(""), "");
    }
}
