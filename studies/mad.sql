-- MAD's score of each task (arXiv 2403.17844): at each level of difficulty the best accuracy over learning rates and weight
-- decays, and of these the mean. Runs that differ in their seed alone count as one, with their mean.
with tried as (
  select model.variant as variant, task.name as skill, task as level, train.seq_len as length,
         train.lr as lr, train.weight_decay as weight_decay, avg(score) as accuracy
  from runs
  where state = 'done' and task.name in ('in_context_recall', 'noisy_in_context_recall', 'fuzzy_in_context_recall',
                                         'selective_copying', 'memorization', 'compression')
  group by all
), best as (
  select variant, skill, level, length, max(accuracy) as accuracy, count(*) as settings
  from tried group by all
)
select variant, skill, avg(accuracy) as score, count(*) as levels, min(settings) as fewest_settings
from best group by variant, skill order by variant, skill
