package main

type group struct {
	json  string
	paths []string
}

const people = `{
  "name": {"first": "Tom", "last": "Anderson"},
  "age":37,
  "children": ["Sara","Alex","Jack"],
  "fav.movie": "Deer Hunter",
  "friends": [
    {"first": "Dale", "last": "Murphy", "age": 44, "nets": ["ig", "fb", "tw"]},
    {"first": "Roger", "last": "Craig", "age": 68, "nets": ["fb", "tw"]},
    {"first": "Jane", "last": "Murphy", "age": 47, "nets": ["ig", "tw"]}
  ]
}`

const truths = `{"vals":[
 {"a":1,"b":"data"},{"a":2,"b":true},{"a":3,"b":false},{"a":4,"b":"0"},{"a":5,"b":0},{"a":6,"b":"1"},{"a":7,"b":1},
 {"a":8,"b":"true"},{"a":9,"b":false},{"a":10,"b":null},{"a":11},{"a":12,"b":"T"},{"a":13,"b":"F"},{"a":14,"b":"TRUE"},
 {"a":15,"b":"False"},{"a":16,"b":""},{"a":17,"b":{}},{"a":18,"b":[]},{"a":19,"b":-0.0},{"a":20,"b":0.001},{"a":21,"b":"t"},
 {"a":22,"b":"yes"},{"a":23,"b":[true]}]}`

const names = `{
 "plain":1, "":"empty", "a.b":"dotted", "a":{"b":"nested","":"empty inside","c.d":{"e.f":"deep"}}, "a|b":"piped", "a*b":"star",
 "a?b":"question", "axb":"wild", "a\\b":"backslash", "a\"b":"quote", "tab\there":"tab", "caf\u00e9":"escaped accent", "café2":"accent",
 "日本語":"kanji", "\ud83d\ude00":"face", "😀2":"face as is", "a b":"space", " lead":"leading", "trail ":"trailing", "#":"hash",
 "@type":"at", "@thisone":"at this one", "!":"bang", "!x":"bang x", "0":"zero", "1":{"2":"one two"}, "01":"zero one", "-1":"minus one", "null":"null name",
 "true":"true name", "{":"brace", "[":"bracket", "(":"paren", ")":"close", "#(a)":"query name", "a#b":"hash inside", "~":"tilde",
 "a/b":"slash", "a\/c":"escaped slash", "end\\":"ends in backslash", "lone\ud800":"lone surrogate", "nul\u0000x":"nul",
 "a.b.c.d":"four", "=":"equals", "%":"percent", ":":"colon", ",":"comma", "..":"two dots", ".":"one dot", "\n":"newline"
}`

const numbers = `{"many":123456789012345678901234567890,"precise":0.1000000000000000055511151231257827,"zero":0,"minus":-0,"neg":-12,
 "exp":1e400,"Exp":1E+5,"small":1e-999,"frac":10.50,"max":9223372036854775807,"over":9223372036854775808,
 "list":[1,1.0,10e-1,2,-3,1e400,9007199254740993,9007199254740992,0.1,100,1E2,-0]}`

const lists = `{"empty":[],"one":[1],"mixed":[1,"1",true,false,null,{"a":1},[1],"",{},[],1.0,"true","null"],
 "nested":[[1,2],[3,[4,5]],[],[[6]]],"deep":[[{"x":1},{"x":2}],[{"x":3},{"y":4}],[],{"x":5},7],
 "objects":[{"x":{"y":1}},{"x":{"y":2,"z":3}},{"x":null},{"x":[{"y":9}]},{}],"spaced":[ 1 , 2 ,
 3 ],"nulls":[null,null],"eleven":[0,1,2,3,4,5,6,7,8,9,10],"words":["apple","banana","cherry","Apple","","é","\u00e9","a b"]}`

const twice = `{"a":1,"a":2,"b":{"x":1},"b":{"y":2},"c":5,"c":{"z":3},"d":[1],"d":[1,2],"e":[],"e":[7],"f":{"g":{}},"f":{"g":{"h":4}},
 "q":[1,2],"q":[3,4]}`

const tricky = `{"list":[
 {"k":"say \"hi\"","n":1},{"k":"back\\slash","n":2},{"k":"a)b","n":3},{"k":"a(b","n":4},{"k":"x|y","n":5},{"k":"x.y","n":6},
 {"k":"caf\u00e9","n":7},{"k":"café","n":8},{"k":"","n":9},{"k":" pad ","n":10},{"k":"a*b","n":11},{"k":"aXb","n":12},{"k":"a?b","n":13},
 {"k":"line\nbreak","n":14},{"k":"tab\there","n":15},{"k":"=","n":16},{"k":"==","n":17},{"k":"~true","n":18},{"k":"#","n":19},
 {"k":"日本","n":20},{"k":"\ud83d\ude00","n":21},{"k":null,"n":22},{"k":true,"n":23},{"k":12,"n":24},{"k":{"k":1},"n":25},{"k":[1,2],"n":26},
 {"n":27},{"k":"\"","n":28},{"k":"a\"","n":29},{"k":"end\\","n":30},{"k":"\ud800","n":31},{"k":"\/","n":32}]}`

const secret = `{"username":"admin","password":"p@ss.w0rd|x","port":5432,"tls":{"ca.crt":"-----BEGIN\nAB==\n-----END","tls.key":"k"},
 "hosts":[{"name":"db-0","ip":"10.0.0.1","roles":["primary","backup"],"weight":1.5,"active":true},
  {"name":"db-1","ip":"10.0.0.2","roles":["replica"],"weight":2,"active":false},
  {"name":"db-2","ip":"10.0.0.3","roles":[],"weight":0.5,"active":true,"note":null}],
 "matrix":[[1,2,3],[4,5,6]],"labels":{"app.kubernetes.io/name":"waypost","tier":"db"},"config":{"db_user":"u","db_pass":"p","web_user":"w"}}`

var chosen = []group{
	{people, []string{
		"name.last", "name.first", "age", "children", "children.0", "children.1", "children.2", "children.3", "friends.1", "friends.1.first",
		"child*.2", "c?ildren.0", `fav\.movie`, "fav.movie", "friends.#", "friends.#.age", "friends.#.first", "friends.#.nets", "friends.#.nets.0",
		"friends.#.nets.#", "friends.#.nope", `friends.#(last=="Murphy").first`, `friends.#(last=="Murphy")#.first`, "friends.#(age>45)#.last",
		`friends.#(first%"D*").last`, `friends.#(first!%"D*").last`, `children.#(!%"*a*")`, `children.#(%"*a*")#`,
		`friends.#(nets.#(=="fb"))#.first`, `friends.#(nets.#(=="fb")).first`, "friends.0.first", "friends|0.first", "friends.0|first",
		"friends|0|first", "friends|#", `friends.#(last="Murphy")#`, `friends.#(last="Murphy")#|first`, `friends.#(last="Murphy")#.0`,
		`friends.#(last="Murphy")#|0`, `friends.#(last="Murphy")#.#`, `friends.#(last="Murphy")#|#`, `friends.#(last="Murphy")#|0.first`,
		`friends.#(last="Murphy")#.first|0`, `friends.#(last="Murphy")#.first|#`, `friends.#(last="Murphy")#.nets|1|0`,
		`friends.#(last="Murphy")#.nets.#(%"t*")#`, `friends.#(last="Murphy")#.nets.#(%"t*")#|0`, `friends.#[last="Murphy"].first`,
		`friends.#[last="Murphy"]#.first`, `friends.#(last="Nobody").first`, `friends.#(last="Nobody")#.first`, `friends.#(last="Nobody")#`,
		`friends.#(last="Nobody")`, `friends.#(last="Nobody")#|#`, `friends.#(last="Nobody")#.first|#`, "friends.#.first|1", "friends.#.first.1",
		"friends.#.nets|0", "friends.#.nets|0|0", "friends.#.nets.#|1", "friends|#.first", "friends|#|x", "friends.#|x", "friends.#|0",
		"name|first", "name|*", "name.*", "*.first", "*.last", "n*|f*", "friends.*", "friends.*.first", "friends.?", "*", "?", "???", "???.*", "*e", "*s",
		"*e*.0", "**.0", "name.first.x", "age.x", "age.#", "age.0", "name.#", "name.0", "name.#.x", "name.#(first)", "children.first", "children.-1",
		"children.+1", "children. 1", "children.1 ", "children.01", "children.001", "children.1.0", "children.#.x", "children.#.#",
		"children.18446744073709551616", "children.18446744073709551617", "children.9223372036854775808", "children.99999999999999999999",
		"children.1e0", "children.0x1", "children.٠", "name.", ".name", "name..first", "..name", "..0.name.first", "..#", "..#.age", "..1", "..0",
		"..", "...", ".", "|", "||", "name|", "|name", "name||first", "name.|first", "name|.first", "nope", "nope.nope", "nope|nope", "nope|#",
		"nope|..#", "nope.nope|..#", "name.nope|..#", "name.nope|..#.x", "name.nope|..#(x)#", "age|..#", "age|..0", "children|..#", "children|..0", "children|..0.1",
		"friends.#(age>=44)#.age", "friends.#(age>44)#.age", "friends.#(age<47)#.age", "friends.#(age<=47)#.age", "friends.#(age==47)#.age",
		"friends.#(age=47).first", "friends.#(age!=47)#.age", `friends.#(age=="47")#.age`, `friends.#(age>"45")#.age`, "friends.#(age>x)#.age",
		`friends.#(first<"E")#.first`, `friends.#(first>"E")#.first`, `friends.#(first>="Jane")#.first`, `friends.#(first<="Jane")#.first`,
		`friends.#(first!="Jane")#.first`, "friends.#(first==Jane).last", "friends.#(first)#.first", "friends.#(nope)#.first", "friends.#(nope)",
		"friends.#()#", "friends.#()", "friends.#()#.first", "children.#()#", "children.#()", `children.#(=="Alex")`, `children.#("Alex")`,
		`children.#(>"B")#`, `children.#(!="Alex")#`, "friends.#(age>45)#.nets.#", "friends.#(age>45)#.nets|#", "friends.#(nets.0==ig)#.first",
		"friends.#(nets.#>2)#.first", "friends.#(nets.#==2)#.first", "friends.#(nets.#.x)#.first", "friends.#(nets|0==fb)#.first",
		`friends.#(nets.#(%"i*")#|#>0)#.first`, `friends.#(nets.#(=="zz"))#.first`, `friends.#(nets.#(=="zz")#)#.first`,
		`friends.#(#(=="x"))#`, "friends.#(last.#)#.first", `friends.#(last=="Murphy").nets.#(=="tw")`, `friends.#(last=="Murphy")#.#(first)`,
		"friends.#.#", "friends.#.#.x", "friends.#.*", "friends.#.n*.0", "friends.#.f*", "friends.#.?irst", "friends.##", "friends.#x", "friends.x#",
		"friends.1#", "friends.#1", "friends.#.", "friends.#..first", "friends.", "friends.0.", "friends..0",
	}},
	{truths, []string{
		"vals.#(b==~true)#.a", "vals.#(b==~false)#.a", "vals.#(b==~null)#.a", "vals.#(b==~*)#.a", "vals.#(b!=~*)#.a", "vals.#(b!=~true)#.a",
		"vals.#(b!=~false)#.a", "vals.#(b!=~null)#.a", "vals.#(b=~true)#.a", "vals.#(b<~true)#.a", "vals.#(b<=~true)#.a", "vals.#(b>~true)#.a",
		"vals.#(b>=~true)#.a", "vals.#(b<~false)#.a", "vals.#(b<=~false)#.a", "vals.#(b>=~false)#.a", "vals.#(b>~null)#.a", "vals.#(b%~true)#.a", "vals.#(b!%~true)#.a", "vals.#(b==~)#.a",
		"vals.#(b==~nope)#.a", "vals.#(b!=~nope)#.a", "vals.#(b==~True)#.a", `vals.#(b=="~true")#.a`, `vals.#(b=="~*")#.a`, "vals.#(b== ~true )#.a",
		"vals.#(b==~ true)#.a", "vals.#(b==true)#.a", "vals.#(b==false)#.a", "vals.#(b!=true)#.a", "vals.#(b!=false)#.a", "vals.#(b<true)#.a",
		"vals.#(b<=true)#.a", "vals.#(b>false)#.a", "vals.#(b>=false)#.a", "vals.#(b>=true)#.a", "vals.#(b<=false)#.a", "vals.#(b==null)#.a",
		"vals.#(b!=null)#.a", `vals.#(b==null)#`, "vals.#(b)#.a", "vals.#(b==0)#.a", `vals.#(b=="0")#.a`, "vals.#(b==)#.a", `vals.#(b=="")#.a`,
		"vals.#(b!=)#.a", "vals.#(b!)#.a", "vals.#(b!x)#.a", "vals.#(b! =true)#.a", "vals.#(b%*)#.a", `vals.#(b%"*")#.a`, "vals.#(b%)#.a",
		"vals.#(b!%)#.a", "vals.#(b>-1)#.a", "vals.#(b<1)#.a", "vals.#(b.x==~null)#.a", "vals.#(b.0==~true).a", "vals.#(b.0==~*)#.a", "vals.#.b", "vals.#", "vals.#.a|#",
		"vals.#(==~true)#", "vals.#(==~false)#", "vals.#(==~null)#", "vals.#(==~*)#.a", "vals.#(b==~true).a", "vals.#(b==~null).b", "vals.#(b==~null).b|..#",
	}},
	{names, []string{
		"plain", "", `a\.b`, "a.b", "a.", "a.c.d", `a.c\.d`, `a.c\.d.e\.f`, `a.c\.d|e\.f`, `a\|b`, "a|b", `a\*b`, "a*b", `a\?b`, "a?b", "a?*b", `a\*?`, `a\\b`, `a\\\\b`,
		`a\b`, `a"b`, `a\"b`, "tab\there", `tab\there`, "café", "caf?", "caf*", "café2", "日本語", "日??", "日*", "😀", "?2", "😀2", "a b", " lead", "lead", "trail ", "#", `\#`, "@type",
		`\@type`, "@thisone", `\@this`, "!", "!x", `\!x`, "0", "1", "1.2", "01", "00", "-1", "null", "true", "{", "[", `\{`, `\[`, "(", ")", "#(a)", `\#(a)`, "a#b", "~", "a/b",
		"a/c", `end\\`, `*\\`, `end\`, `plain\`, `\plain`, `p\lain`, `\`, `\\`, "lone\uFFFD", "lone?", "lone*", "nul\x00x", `a\.b\.c\.d`, "a.b.c.d", "=", "%", ":", ",", `\.\.`, `\.`, "..",
		".", "\n", `\n`, `a\*`, "*\\*b", `a\\*`, "?", "??", "???", "*|", "p*n", "pl??n", "p*l*n", "p*x*n", "*n", "n*", "**", "*plain*", "plain*", "*plain", "?plain", "plain?", "PLAIN",
		"plain.x", "plain|x", "a.*", "a.?", "a.*.*", "a.**", "*.b", "*.2", "?.2", "1.*", `a\x2eb`, "a%2Eb", "a..b", "a.b.", "a.b..", ".a", ".a.b", "x.y.z", `@type.x`, "@nope", "@nope.x", "@nope:x", "a.@nope",
		"a.@type", "a.!x", "nul*", "*\x00*",
	}},
	{numbers, []string{
		"many", "precise", "zero", "minus", "neg", "exp", "Exp", "small", "frac", "max", "over", "list", "list.#", "list.0", "list.5", "list.6", "list.11", "list.12",
		"list.#(==1)#", "list.#(==1.0)#", `list.#(=="1")#`, "list.#(==1e0)#", "list.#(==1E0)#", "list.#(==+1)#", "list.#(==.1)#", "list.#(==100.)#", "list.#(==1_00)#", "list.#(==0x64)#", "list.#(==9007199254740993)#", "list.#(==9007199254740992)#",
		"list.#(>1)#", "list.#(>=1)#", "list.#(<1)#", "list.#(<=1)#", "list.#(!=1)#", "list.#(==0)#", "list.#(==-0)#", "list.#(==x)#", "list.#(!=x)#", "list.#(>x)#", `list.#(==)#`, "list.#(>)#",
		"list.#(==1e999)#", "list.#(==inf)#", "list.#(==Inf)#", "list.#(<inf)#", "list.#(<-inf)#", "list.#(==infinity)#", "list.#(==nan)#", "list.#(!=nan)#", "list.#(!=-nan)#", "list.#(==1 )#", "list.#(== 1)#", "list.#( == 1 )#", "list.#(==1 1)#",
		"list.#(%1)#", `list.#(%"1*")#`, `list.#(!%"1*")#`, "list.#(==true)#", "list.#(==~true)#", "list.#(==~false)#", "list.#(==~null)#", "list.#(==~*)#", "list.#(>50).x", "list.#(>50)", "many.x", "many.#", "many|#", "many|0", "precise|..0", "list|#|0", "list.#|..0",
	}},
	{lists, []string{
		"empty", "empty.#", "empty.0", "empty.#.x", "empty.#()#", "empty.#()", "empty.#(x==1)#.y", "empty.#(x==1)#|#", "empty|#", "one.0", "one.1", "one.#", "one.0.0", "mixed.#", "mixed.0", "mixed.1", "mixed.2", "mixed.3",
		"mixed.4", "mixed.5", "mixed.5.a", "mixed.6", "mixed.6.0", "mixed.7", "mixed.8", "mixed.9", "mixed.10", "mixed.12", "mixed.13", "mixed.#.a", "mixed.#.0", "mixed.#.#", "mixed.#.x", "mixed.#(==1)#", `mixed.#(=="1")#`, `mixed.#(=="")#`,
		"mixed.#(==true)#", `mixed.#(=="true")#`, "mixed.#(==null)#", "mixed.#(!=1)#", "mixed.#(!=true)#", "mixed.#(!=x)#", "mixed.#()#", "mixed.#()", "mixed.#(a)#", "mixed.#(a==1)", "mixed.#(a!=1)#", "mixed.#(a==~null)#", "mixed.#(0)#", "mixed.#(0==1)#", "mixed.#(#)#", "mixed.#(#==1)#", "mixed.#(#>0)#", "mixed.#(%*)#", `mixed.#(%"?")#`, "mixed.#(!%?)#",
		"mixed.#(>0)#", "mixed.#(<2)#", "mixed.#(>=0)#", "mixed.#(<=2)#", "mixed.#(==~true)#", "mixed.#(==~false)#", "mixed.#(==~null)#", "mixed.#(==~*)#", "mixed.#(!=~null)#", "mixed.#(==~null)", "mixed.#(==~null)#|#",
		"nested.#", "nested.0", "nested.0.1", "nested.1.1", "nested.1.1.0", "nested.#.0", "nested.#.1", "nested.#.1.0", "nested.#.#", "nested.#.#.0", "nested.#.#.#", "nested.#.#.#.0", "nested.#|0", "nested.#.0|0", "nested.#.#|0", "nested.#.#|#", "nested.#(0)#", "nested.#(0==3)", "nested.#(0==3)#.1", "nested.#(1.0==4)", "nested.#(#==2)#", "nested.#(#==0)", "nested.#(#(==2))", "nested.#(#(==2))#", "nested.#(#(==2)#)#", "nested.#(#(>1)#.#)#", "nested.#(#(#(==6)))", "nested.#(#(#(==6))).0.0",
		"deep.#.#.x", "deep.#.#.y", "deep.#.0.x", "deep.#.x", "deep.#.#(x>1).x", "deep.#.#(x>1)#.x", "deep.#.#(x>1)#", "deep.#.#(x>1)#|0", "deep.#.#(x>1)#.x|0", "deep.#.#(x>1)#.x|0|0", "deep.#.#.x|0", "deep.#.#.x|0|1", "deep.#.#.x|#", "deep.#.#.x|#.#", "deep.#.#.x|#.0", "deep.#.#.x.#", "deep.#.#|x", "deep.0.#.x", "deep.1.#(y).y", "deep.#(#(x==3))#", "deep.#(#(x==3)).1.y", "deep.#(x==5)", "deep.#(x==5)#.x", "deep.#(#.x)#", "deep.#(==7)", "deep.#(==7)#.x",
		"deep.#(#(x==2).x==2)", "deep.#(#(x==2).x!=2)#",
		"objects.#.x", "objects.#.x.y", "objects.#.x.z", "objects.#.x.#.y", "objects.#.x.0.y", "objects.#(x)#", "objects.#(x.y==2).x.z", "objects.#(x.y==2)#.x.z", "objects.#(x.y>0)#.x.y", "objects.#(x==null)", "objects.#(x==~null)#", "objects.#(x!=~null)#.x.y", "objects.#(x.y)#.x|0", "objects.#(x.y)#.x|0.y", "objects.#(x.y)#.x|#.y", "objects.#(x.y)#|#.x.y", "objects.#(x.y)#|1.x.z", "objects.#(x.#.y)#", "objects.#.*", "objects.#.*.y", "objects.#.*.*", "objects.#(*)#", "objects.#(*.y==2)", "objects.#(x|y==2)", "objects.#(x.*==3)",
		"spaced", "spaced.#", "spaced.1", "spaced.2", "spaced.#()#", "spaced.#(>1)#", "spaced|#", "nulls.#", "nulls.0", "nulls.#()#", "nulls.#()", "nulls.#(==null)#", "nulls.#(==~null)#", "nulls.#.x", "nulls.0.x", "nulls.0|..#", "eleven.10", "eleven.010", "eleven.1", "eleven.11", "eleven.#(>8)#", "eleven.#(>8)#|1", "eleven.#(>8)#.1", "eleven.#(>8)|1", "eleven.#(>8).1",
		`words.#(%"a*")#`, `words.#(%"*a*")#`, `words.#(%"?pple")#`, `words.#(%"[Aa]pple")#`, `words.#(!%"*a*")#`, `words.#(>"b")#`, `words.#(<"b")#`, `words.#(>="banana")#`, `words.#(==é)#`, `words.#(=="é")#`, `words.#(=="\u00e9")#`, `words.#(==\u00e9)#`, `words.#(%"?")#`, `words.#(%"")#`, `words.#(=="")#`, `words.#(==)#`, `words.#(!="")#|#`, `words.#(==a b)`, `words.#(=="a b")`, `words.#(%"* *")`, `words.#(%*)#|#`, `words.#(%**)#|#`, `words.#(%"b*n*a")`, `words.#(%"b*n*x")`, "words.#(banana)", "words.0.#", "words.#.#", "words.#.0",
		"words.#(==apple", "words.#(", "words.#[", "words.#(==apple].x", "words.#(==apple]", "words.#[==apple)", "words.#((==apple))", "words.#(==(apple))", `words.#(=="apple`, `words.#(=="apple)`, "words.#)", "words.#()x", "words.#(==banana)x", "words.#(==banana)x#", "words.#(==banana)#x", "words.#(==banana)##", "words.#(==banana)#.#", "words.#(==banana)x|y", "words.#(==banana)x.y", "mixed.#(", "objects.#(x", "objects.#(x.y==2", "nulls.#(", "nested.#(", "empty.#(", "words.#(==banana).", "words.#(==banana)|", "words.#(==banana)#.", "words.#(==banana)#|",
		`words.#(\==apple)#`, `words.#(==\apple)#`, `words.#(==apple\)`, `words.#(==apple\))`, `words.#(=="apple"  )`, "words.#(  ==  apple  )", "words.#(\t==\napple)", "words.# (==apple)", `words.#(==="apple")`, `words.#(=="="apple")`, `words.#(=!"apple")`, `words.#(<>"apple")#`, `words.#(><"apple")#`, `words.#(%="apple")#`, `words.#(!=="apple")#|#`, `words.#(=='apple')`, `words.#(=="apple""banana")`, `words.#(=="apple" )#`, `words.#("apple"=="apple")`, `words.#(=="apple"=="apple")`,
	}},
	{twice, []string{"a", "b", "b.x", "b.y", "b.z", "c", "c.z", "c.y", "d.0", "d.1", "d.#", "e.0", "e.#", "f.g.h", "f.g", "f.*.h", "*.h", "*.*.h", "*", "*.y", "*.z", "?.1", "?.#", "q.#(>2)", "q.#(>2)#", "q.#(>0)#", "*.#(>2)#", "*.#(>6)", "*.#(>2)", "*.#(>2)#|#", "*.#(>2).x", "*.#.x", "q.#(>2)|..#", "b|y", "*|y", "f|g|h"}},
	{tricky, []string{
		`list.#(k=="say \"hi\"").n`, `list.#(k=="say \"hi\"")#.n`, `list.#(k==say \"hi\").n`, `list.#(k=="back\\slash").n`, `list.#(k=="back\slash").n`, `list.#(k==back\\slash).n`, `list.#(k==back\slash).n`, `list.#(k=="a)b").n`, `list.#(k==a\)b).n`, `list.#(k==a)b).n`, `list.#(k=="a(b").n`, `list.#(k==a(b).n`, `list.#(k=="x|y").n`, `list.#(k==x|y).n`, `list.#(k=="x|y")#.n`, `list.#(k=="x|y")#|0.n`, `list.#(k=="x.y").n`, `list.#(k==x.y).n`,
		`list.#(k=="café")#.n`, `list.#(k=="caf\u00e9")#.n`, `list.#(k==café)#.n`, `list.#(k=="caf\u00E9")#.n`, `list.#(k%"caf?")#.n`, `list.#(k=="").n`, `list.#(k==).n`, `list.#(k==" pad ").n`, `list.#(k== pad ).n`, `list.#(k=="a*b").n`, `list.#(k%"a*b")#.n`, `list.#(k%"a\*b")#.n`, `list.#(k%"a\\*b")#.n`, `list.#(k%a\*b)#.n`, `list.#(k%"a?b")#.n`, `list.#(k%"a\\?b")#.n`, `list.#(k%a\?b)#.n`, `list.#(k%"*\\\\")#.n`, `list.#(k%"*\\")#.n`, `list.#(k%*\)#.n`, `list.#(k%*\\)#.n`, `list.#(k%"end\\")#.n`, `list.#(k%"end\\\\")#.n`,
		`list.#(k=="line\nbreak").n`, "list.#(k==\"line\nbreak\").n", `list.#(k=="tab\there").n`, "list.#(k==\"tab\there\").n", "list.#(k==\"tab\there\\/\").n", `list.#(k=="=").n`, `list.#(k===).n`, `list.#(k=="==").n`, `list.#(k====).n`, `list.#(k=="~true")#.n`, `list.#(k=="\~true")#.n`, `list.#(k=="\u007etrue")#.n`, `list.#(k=="#").n`, `list.#(k==#).n`, `list.#(k=="日本").n`, `list.#(k==日本).n`, `list.#(k=="\ud83d\ude00").n`, `list.#(k==😀).n`, `list.#(k%?)#.n`, `list.#(k==null)#.n`, `list.#(k==~null)#.n`, `list.#(k==true)#.n`, `list.#(k==12)#.n`, `list.#(k=="12")#.n`, `list.#(k.k==1)#.n`, `list.#(k.#==2)#.n`, `list.#(k.1==2)#.n`, `list.#(k.#(==2))#.n`,
		`list.#(k=="\"").n`, `list.#(k==").n`, `list.#(k==\").n`, `list.#(k==""").n`, `list.#(k=="a\"").n`, `list.#(k=="end\\").n`, `list.#(k=="end\").n`, `list.#(k=="\ud800")#.n`, "list.#(k==\uFFFD)#.n", `list.#(k=="\udc00")#.n`, `list.#(k=="\ud800\u0041")#.n`, `list.#(k=="/").n`, `list.#(k=="\/").n`, `list.#(k=="\x")#.n`, `list.#(k=="#\x")#.n`, `list.#(k=="#\u12")#.n`, `list.#(k=="\u00zz")#.n`, `list.#(k==")").n`, `list.#(k=="]")#.n`, `list.#(n>30)#.k`, `list.#(n==31).k`, `list.#(n==32)#.k`, `list.#(n>20)#.k.k`, `list.#(n>20)#.k.#`, `list.#(n>20)#.k|#`, `list.#(k!="x")#.n|#`, `list.#(k>"")#.n|#`, `list.#(k>"a")#.n`, `list.#(k<"a")#.n`, `list.#(k<="日")#.n|#`,
		`list.#(\k==12).n`, `list.#("k"==12).n`, `list.#(k ==12).n`, `list.#( k==12 ).n`, `list.#(k\==12).n`, `list.#(k=\=12).n`, `list.#(k.==12).n`, `list.#(.k==12).n`, `list.#(*==12).n`, `list.#(?==12).n`, `list.#(k*%"x*")#.n`, `list.#(n==1)#.k|0`, `list.#.k|#`, `list.#.k|5`, `list.#.k.k`, `list.#.k.#`, `list.#.#`, `list.#.#(k=="x|y").n`, `list.#.k\|#`,
	}},
	{secret, []string{
		"username", "password", "port", "tls", `tls.ca\.crt`, "tls.ca.crt", `tls.tls\.key`, "tls.*key", "tls.ca*", "hosts.0.name", "hosts.#.name", "hosts.#.ip|0", `hosts.#(name=="db-1").ip`, `hosts.#(active==true)#.name`, "hosts.#(active==false).name", "hosts.#(active==~true)#.name", "hosts.#(active).name", "hosts.#(!active).name", `hosts.#(roles.#(=="primary")).name`, `hosts.#(roles.#(=="primary"))#.name`, `hosts.#(roles.#==0).name`, "hosts.#(weight>1)#.name", "hosts.#(weight>=0.5)#.weight", "hosts.#(weight==2.0).weight", "hosts.#(note==~null)#.name", "hosts.#(note==~*)#.name", "hosts.#(note).note", "hosts.2.note", "hosts.#.note", `hosts.#(ip%"10.0.0.?")#.ip`, `hosts.#(ip%"*.2").name`, `hosts.#(ip!%"*.2")#.name`, "hosts.#.roles", "hosts.#.roles.#", "hosts.#.roles.0", "hosts.#.roles|0.1", "hosts.#.roles|@x", "matrix.1.2", "matrix.#.1", "matrix.#.#", "matrix.#|1", "matrix.#(1>2)#", "matrix.#(1>2).0", "matrix.#.#(>1)#", "matrix.#.#(>1)#|1", "matrix.#.#(>1)#|1|0", `labels.app\.kubernetes\.io/name`, "labels.app*", "labels.*.x", "labels.tier", "config.db_*", "config.*_pass", "config.*_user", "config.w*_user", "config.db_????", "config.?????", "password.x", `pass*\d`, "hosts.#(name==\"db-1\")#|0|ip", "hosts.1|roles|0", "hosts|#(name==\"db-2\")|weight", "hosts|#(name==\"db-2\")#|#", "hosts|#.weight|#(>1)", "hosts|#.weight|#(>1)#", "hosts.#.weight|#(<2)#|1", "hosts.#.name|#(%\"*-1\")", "hosts.#(name%\"db-*\")#.roles.#(%\"*p*\")#", "hosts.#(name%\"db-*\")#.roles.#(%\"*p*\")", "*.#(name==\"db-1\").ip", "*.0.0", "*.*.*", "h*s.1.n*",
	}},
	// Queries and pipes that objects read as names.
	{`{"#(a==1)":{"b":"q"},"#":{"x":1},"#(a=\"x":{"y\")":2},"list":[{"a":1,"b":3}],"#(k":{"v)":5},"a":[{"#(x":1}]}`, []string{
		"#(a==1).b", "#(a==1)", "#.x", "#", "#|x", `#(a="x.y")`, "list.#(a==1).b", "#(k.v)", "a.#(#(x)", "a.#.#(x", `a.0.#(x`, "#*.b", "#?a==1).b", "*.b", "*.#(a==1).b", "*.#(a==1)#", "*.#(a==1)#.b", "*.#(a==1)#|0",
	}},
	{`{"p":{"k":1},"q":[{"a":"|x"}],"r":{"#(a==\"|x\")":9}}`, []string{`*.#(a=="|x")`, `q.#(a=="|x")`, `q.#(a=="|x")#`, `*.#(a=="|x")#`, `r.#(a=="|x")`, `r.#(a=="\|x")`}},
	{`{"a":[1,2],"b":{"#(>0)#":5},"c":[3]}`, []string{"*.#(>0)#", "*.#(>1)#", "*.#(>2)#", "*.#(>5)#", "?.#(>0)#|#", "*.#(>0)"}},
	// Roots that are lists.
	{`[1,[2,3],{"a":4,"b":[5]},"six",null,true]`, []string{"0", "1", "1.0", "1.1", "2.a", "2.b.0", "3", "4", "5", "6", "#", "#.a", "#.0", "#.b", "#.b.0", "#()#", "#()", "#(a)", "#(a==4).b", "#(==1)", "#(==six)", `#(=="six")#`, "a", "", ".", "*", "?", "*.a", "|0", "0|0", "1|0", "1|#", "#|0", "..0", "..0.1", "..#", "..#.1", "..#.2.a", "..#(2.a==4).0", "..#.#", "...0", "..|0", "..#|0", "..0|1", "..0|1|1", "#...0", "#...#", "2.b|..#", "2.b|..0.0", `\0`, `0\`, "#.a\\", "0#", "0.#", "##"}},
	{`[]`, []string{"0", "#", "#.x", "#()#", "#()", "", "#|..#", "..#", "..0", "0|..#", "0.0|..#"}},
	{`{}`, []string{"a", "", "#", "*", "a.b", "a|b", "..#", "..0", "a|..#", "a.b|..#", "#()#", "#()", ".", "..", "a|..#.x", "a|..#(x)#", "a|..0", `a\|..#`}},
	{` [ { "a" : [ 1 , { "b" : "c" } ] } , 2 ] `, []string{"0", "0.a", "0.a.1", "0.a.1.b", "#", "#.a", "#.a.0", "#.a|0", "#.a|0|1.b", "#()#", "#(a)", "#(a.1.b==c)", "#(a.#(b==c)).a.0", "1", "..#", "..0.0.a"}},
	{"\n\t{\"a\":\r\n{ \"b\"\t: [ ] } }\n", []string{"a", "a.b", "a.b.#", "..0", "..#", "..0.a"}},
	// Roots that hold nothing to step into.
	{`5`, []string{"", "0", "#", "a", "*", "..0", "..#", "..1", "..0.a", "..#.a", "a|..#", "..#()#", "..#(==5)", "..#(>5)#"}},
	{`"text"`, []string{"", "0", "#", "a", "*", "..0", "..#", `..#(=="text")`, "..#.x"}},
	{`null`, []string{"", "0", "a", "..0", "..#", "..#()#", "..#(==~null)"}},
	{`true`, []string{"", "0", "a", "..0", "..#", "..#(==true)", "..#(==~true)#"}},
	{``, []string{"", "a", "#", "..#", "..0", "..#.x", "..#()#", "a|..#"}},
	{"  \n ", []string{"", "a", "#", "..#", "..0", "..#.x"}},
	// Documents that follow each other.
	{"{\"a\":1}\n{\"a\":2,\"b\":[1,2]}\n[3,4]\n5\n\"six\"\n", []string{"..#", "..0", "..1", "..1.a", "..1.b.1", "..2.0", "..3", "..4", "..5", "..#.a", "..#.b.#", "..#.b|0", "..#.0", "..#(a==2).b", "..#(a==2)#.b", "..#(a)#", "..#(a)#|#", "..#(a)#.a|1", "..#(==5)", `..#(=="six")`, "..#()#", "..a", "..*", "..", "..01", "..0|a", "..0.a|x", "..#|0", "..1.b.#(>1)"}},
	{"{\"a\":1} {\"a\":2}", []string{"..#", "..0.a", "..1.a", "..#.a"}},
	{"1 2 3", []string{"..#", "..2", "..#(>1)#", "..#(>1)#|0"}},
	// Depth.
	{`[[[[[[[[[[[[1]]]]]]]]]]]]`, []string{"0.0.0.0.0.0.0.0.0.0.0.0", "#.#.#.#.#.#.#.#.#.#.#.#", "#.#.#.#.#.#.#.#.#.#.#.0", "0|0|0|0|0|0|0|0|0|0|0|0", "#(#(#(#(#(#(#(#(#(#(#(#(==1)))))))))))"}},
	{`{"a":{"a":{"a":{"a":{"a":{"a":{"b":1}}}}}}}`, []string{"a.a.a.a.a.a.b", "*.*.*.*.*.*.b", "a|a|a|a|a|a|b", "a.a.a.a.a.a.a", "*.*.*.*.*.*.*.*"}},
	// Where this differs on purpose: the list in the Rust test has the reasons.
	{`{"s":"[1,2]","t":["[3]","x"]}`, []string{"s", "s.0", "s|0", "s|#", "t.#", "t.#.0", "t.#.#", `t.#(=="[3]")`, `t.#(=="[3]").0`, `t.#(=="[3]")#.0`, "s|..0", "s|..#", "..0.s"}},
	{`"[7]"`, []string{"0", "#", "..0", "..#"}},
	{`{"a":1} trailing`, []string{"a"}},
	{"\ufeff{\"a\":1}", []string{"a"}},
	{"{\"a\":1}\n{\"a\":2}", []string{"a"}},
	{`{"a":1,}`, []string{"a"}},
	{`[1,2`, []string{"#", "0"}},
	{`{"a":nope}`, []string{"a"}},
	{`not json {"a":1}`, []string{"a"}},
	{`{"x":[16,0]}`, []string{"x.#(==0x1p4)", "x.#(==0x1p4)#", "x.#(>0x1p3)#"}},
	{`{"k.@this":1,"k.[x]":2,"l":[1]}`, []string{`k\.@this`, `k\.[x]`, `l.k\.[x]`, `l.k\.{x}`, `l.k\.@keys`, `l.k\.@this`, `k\.@keys`}},
	{`{"o":{"y":1},"l":[{"u":"a.{b}"},{"u":"a.@keys"},{"u":"a|[b]"}]}`, []string{`l.#(u=="a.{b}")`, `l.#(u=="a.@keys")`, `l.#(u=="a|[b]")`, `o.#(u=="a.{b}")`, `o.#(u=="a.@keys")`, `o.#(u=="a|[b]")`, `o.#(u=="a.@this")`, `o.#(u==a.{b)`, `l.#(u==a.{b)`, `l.#(u==a.{b})`}},
	{`{"":1,"b":2}`, []string{"{b", "[b", "[a]b", "{a}b", "{", "["}},
	{`{"a":["ab","aXb"]}`, []string{"a.#(==\"\\u12é\")#"}},
}
