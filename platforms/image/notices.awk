# Writes parts with their licences, and then each text once, with the parts that it is of. Reads
# lines of fields between tabs:
#   part  NAME  LICENCE  SOURCE  NOTE    a part of the binary; all but the name may be empty
#   text  LABEL  FILE                    a text that belongs to the part before it
BEGIN { FS = "\t"; print "Parts\n-----" }

# The text of a file without what editors differ in: carriage returns, white space at the ends of
# lines, empty lines before and after it.
function content(file,    line, text, gap) {
  while ((getline line < file) > 0) {
    sub(/[ \t\r]+$/, "", line)
    if (line == "") gap = gap "\n"
    else { text = text (text == "" ? "" : gap) line "\n"; gap = "" }
  }
  close(file)
  return text
}

$1 == "part" {
  name = $2
  listed = 0
  print "\n" name
  print "  licence: " ($3 == "" ? "as its texts say" : $3)
  if ($4 != "") print "  source: " $4
  if ($5 != "") print "  " $5
}

$1 == "text" {
  text = content($3)
  if (text == "") {
    print "notices.awk: " $2 " of " name " is empty or cannot be read: " $3 > "/dev/stderr"
    failed = 1
    exit 1
  }
  # Many copies of a licence differ in their indentation only.
  key = text
  gsub(/[ \t\f\n]+/, " ", key)
  sub(/^ /, "", key)
  if (!(key in number)) { number[key] = ++count; shown[count] = text }
  n = number[key]
  users[n] = users[n] "  " name " (" $2 ")\n"
  if (!listed++) print "  texts:"
  print "    [" n "] " $2
}

END {
  if (failed) exit 1
  print "\nTexts\n-----"
  for (n = 1; n <= count; n++) {
    print "\n================================================================================"
    print "[" n "] is of:"
    print users[n]
    printf "%s", shown[n]
  }
}
