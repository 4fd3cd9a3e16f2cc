//! From a classifier's logits to a verdict.

use super::Verdict;
use crate::event::Value;

/// The names that Hugging Face gives where none were given, with the meaning that the card of
/// `cardiffnlp/twitter-roberta-base-sentiment` gives them: 0 negative, 1 neutral, 2 positive.
const UNNAMED: [(&str, &str); 3] = [("LABEL_0", "negative"), ("LABEL_1", "neutral"), ("LABEL_2", "positive")];

/// The labels of a model, in the order of its logits.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    names: Vec<Value>,
    /// Where positive and negative stand, if the model knows both.
    poles: Option<(usize, usize)>,
}

impl Labels {
    /// Labels of these names. Those of a model of sentiment are positive, neutral and negative, however it writes them.
    pub fn new(mut names: Vec<String>) -> Self {
        if names.len() == 3 && names.iter().zip(UNNAMED).all(|(name, (unnamed, _))| name == unnamed) {
            names = UNNAMED.iter().map(|(_, meaning)| (*meaning).to_owned()).collect();
        }
        for name in &mut names {
            let small = name.to_lowercase();
            if ["negative", "neutral", "positive"].contains(&small.as_str()) {
                *name = small;
            }
        }
        let place = |label: &str| names.iter().position(|name| name == label);
        let poles = place("positive").zip(place("negative"));
        Labels { names: names.iter().map(Value::text).collect(), poles }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The likeliest label; `None` where a logit is no number. The score is the probability of positive less that of
    /// negative, so that it means what the lexicon's means; of a classifier of something else, the label's probability.
    pub fn verdict(&self, logits: &[f32]) -> Option<Verdict> {
        if logits.len() != self.names.len() || logits.iter().any(|logit| !logit.is_finite()) {
            return None;
        }
        let (best, highest) = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        let shares: Vec<f64> = logits.iter().map(|logit| f64::from(logit - highest).exp()).collect();
        let sum: f64 = shares.iter().sum();
        let score = match self.poles {
            Some((positive, negative)) => (shares[positive] - shares[negative]) / sum,
            None => shares[best] / sum,
        };
        Some(Verdict { label: self.names[best].clone(), score })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(names: &[&str], logits: &[f32]) -> Option<(String, f64)> {
        let labels = Labels::new(names.iter().map(ToString::to_string).collect());
        labels.verdict(logits).map(|verdict| (verdict.label.to_string(), (verdict.score * 1e4).round() / 1e4))
    }

    #[test]
    fn three_labels_without_names_mean_what_the_card_says() {
        let unnamed = ["LABEL_0", "LABEL_1", "LABEL_2"];
        assert_eq!(verdict(&unnamed, &[0.0, 0.0, 3.0]), Some(("positive".into(), 0.8642)));
        assert_eq!(verdict(&unnamed, &[3.0, 0.0, 0.0]), Some(("negative".into(), -0.8642)));
        assert_eq!(verdict(&unnamed[..2], &[0.0, 0.0]), Some(("LABEL_1".into(), 0.5)), "nobody says what they mean");
    }

    #[test]
    fn labels_of_the_configuration_are_kept() {
        assert_eq!(verdict(&["NEGATIVE", "POSITIVE"], &[0.0, 1.0]), Some(("positive".into(), 0.4621)));
        assert_eq!(verdict(&["joy", "anger"], &[2.0, 1.0]), Some(("joy".into(), 0.7311)));
    }

    #[test]
    fn what_is_no_number_is_no_verdict() {
        assert_eq!(verdict(&["a", "b"], &[f32::NAN, 1.0]), None);
        assert_eq!(verdict(&["a", "b"], &[f32::INFINITY, 1.0]), None);
        assert_eq!(verdict(&["a", "b"], &[1.0]), None);
        assert_eq!(verdict(&["a", "b"], &[1e38, -1e38]), Some(("a".into(), 1.0)));
    }
}
